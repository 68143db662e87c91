-- Downloads and what they consist of: the receipt of a purchase. Assets and downloads are never
-- deleted, so that no constraint looks for rows that point to them. Constraints and indexes have the
-- same names as in the PostgreSQL migration beside this one.

-- A download of one file with one purchase: all ranges and attempts that together send about one
-- file. charged_bytes is what its answers sent, and what those that have not ended may still send.
CREATE TABLE downloads (
    id TEXT NOT NULL,
    purchase_id TEXT NOT NULL,
    asset_id TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    charged_bytes INTEGER NOT NULL,
    CONSTRAINT downloads_pkey PRIMARY KEY (id),
    CONSTRAINT downloads_purchase FOREIGN KEY (purchase_id) REFERENCES purchases (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX downloads_of_purchase ON downloads (purchase_id, asset_id, id);

-- Each answer that gave a purchase's bytes away, or a link to them. sent_bytes is unknown while it
-- runs, and for ever where another server sends the bytes. Rows are never deleted.
CREATE TABLE grants (
    id TEXT NOT NULL,
    purchase_id TEXT NOT NULL,
    download_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    first_byte INTEGER NOT NULL,
    granted_bytes INTEGER NOT NULL,
    charged_bytes INTEGER NOT NULL,
    stores TEXT NOT NULL,
    key_id TEXT,
    address TEXT,
    ended_at INTEGER,
    sent_bytes INTEGER,
    CONSTRAINT grants_pkey PRIMARY KEY (purchase_id, id),
    CONSTRAINT grants_kind CHECK (kind IN ('stream', 'redirect', 'signed_url', 'link'))
) STRICT, WITHOUT ROWID;
