-- Servers that keep in memory who may read what. Constraints have the same names as in the SQLite migration
-- beside this one.

-- One row for each of them. Whoever ends an access raises wanted in the transaction that does so, and waits until
-- the server has raised seen as well: then it has forgotten what it kept.
CREATE TABLE keepers (
    id TEXT COLLATE "C" NOT NULL,
    wanted BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    CONSTRAINT keepers_pkey PRIMARY KEY (id)
);
