-- Moving objects from one store to another. Constraints and indexes have the same names as in the
-- PostgreSQL migration beside this one.

-- What is to be where. A copy on the target counts when its bytes matched since began_at. Freed bytes
-- stay for grace_ms. hours is a window of the day in UTC, such as 22-06.
CREATE TABLE migrations (
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    prefix TEXT NOT NULL,
    phase TEXT NOT NULL,
    state TEXT NOT NULL,
    source TEXT NOT NULL,
    max_bytes_per_second INTEGER,
    hours TEXT,
    grace_ms INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    phase_began_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT migrations_pkey PRIMARY KEY (id),
    CONSTRAINT migrations_phase CHECK (phase IN ('copy', 'retire', 'rollback')),
    CONSTRAINT migrations_state CHECK (state IN ('running', 'paused', 'finished'))
) STRICT;
-- One at a time: two that pull in opposite directions would never end.
CREATE UNIQUE INDEX migrations_at_work ON migrations ((1)) WHERE state <> 'finished';

-- The migration that gave an object its copy on a store, or took it away.
ALTER TABLE placements ADD COLUMN migration_id TEXT
    CONSTRAINT placements_migration REFERENCES migrations (id);
CREATE INDEX placements_of_migration ON placements (migration_id, store, state, object_id)
    WHERE migration_id IS NOT NULL;
