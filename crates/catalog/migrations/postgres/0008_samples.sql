-- Migrations that read a sample of what was on the target before. Constraints have the same names as in the
-- SQLite migration beside this one.

-- How many of a hundred such copies are read; copies that the migration makes are always read.
ALTER TABLE migrations ADD COLUMN sample_percent BIGINT NOT NULL DEFAULT 100
    CONSTRAINT migrations_sample CHECK (sample_percent BETWEEN 1 AND 100);
