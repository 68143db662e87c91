-- What workers and restores look for. Indexes have the same names as in the SQLite migration
-- beside this one.

-- Copies in the order in which they are to be read and compared again.
CREATE INDEX placements_by_verification ON placements (store, coalesce(verified_at, 0))
    WHERE state = 'present';

-- Copies that are owed: few among many, unless a store was away. The state is in it so that counting
-- them needs nothing else.
CREATE INDEX placements_owed ON placements (store, updated_at, state)
    WHERE state IN ('copying', 'suspect');

-- The object that a restore of a key brings back.
CREATE INDEX objects_retiring_by_key ON objects (key, retire_after) WHERE state = 'retiring';

-- Deleted objects in the order in which their bytes are to be removed: those that no worker took
-- yet, then those that wait for another attempt.
CREATE INDEX objects_to_retire ON objects (coalesce(lease_until, 0), retire_after)
    WHERE state = 'retiring';
DROP INDEX objects_retiring;
