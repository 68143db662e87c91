-- What operators did. Constraints and indexes have the same names as in the SQLite migration
-- beside this one.

-- One row for each call of an operator that may have changed something. Rows are never changed and
-- never deleted. Without a key it was done on the command line; without a status the caller went
-- away before the answer.
CREATE TABLE audit_log (
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    key_id TEXT COLLATE "C",
    action TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C",
    status BIGINT,
    request_id TEXT COLLATE "C",
    address TEXT COLLATE "C",
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_status CHECK (status BETWEEN 100 AND 599),
    CONSTRAINT audit_log_key FOREIGN KEY (key_id) REFERENCES keys (id)
);
CREATE INDEX audit_log_of_key ON audit_log (key_id, id);
