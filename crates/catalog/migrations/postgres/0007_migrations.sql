-- Moving objects from one store to another. Constraints and indexes have the same names as in the
-- SQLite migration beside this one.

-- What is to be where. A copy on the target counts when its bytes matched since began_at. Freed bytes
-- stay for grace_ms. hours is a window of the day in UTC, such as 22-06.
CREATE TABLE migrations (
    id TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    prefix TEXT COLLATE "C" NOT NULL,
    phase TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    max_bytes_per_second BIGINT,
    hours TEXT COLLATE "C",
    grace_ms BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    phase_began_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT migrations_pkey PRIMARY KEY (id),
    CONSTRAINT migrations_phase CHECK (phase IN ('copy', 'retire', 'rollback')),
    CONSTRAINT migrations_state CHECK (state IN ('running', 'paused', 'finished'))
);
-- One at a time: two that pull in opposite directions would never end.
CREATE UNIQUE INDEX migrations_at_work ON migrations ((1)) WHERE state <> 'finished';

-- The migration that gave an object its copy on a store, or took it away.
ALTER TABLE placements ADD COLUMN migration_id TEXT COLLATE "C"
    CONSTRAINT placements_migration REFERENCES migrations (id);
CREATE INDEX placements_of_migration ON placements (migration_id, store, state, object_id)
    WHERE migration_id IS NOT NULL;
