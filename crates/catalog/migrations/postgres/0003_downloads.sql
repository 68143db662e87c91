-- Downloads and what they consist of: the receipt of a purchase. Assets and downloads are never
-- deleted, so that no constraint looks for rows that point to them. Constraints and indexes have the
-- same names as in the SQLite migration beside this one.

-- A download of one file with one purchase: all ranges and attempts that together send about one
-- file. charged_bytes is what its answers sent, and what those that have not ended may still send.
CREATE TABLE downloads (
    id TEXT COLLATE "C" NOT NULL,
    purchase_id TEXT COLLATE "C" NOT NULL,
    asset_id TEXT COLLATE "C" NOT NULL,
    began_at BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    charged_bytes BIGINT NOT NULL,
    CONSTRAINT downloads_pkey PRIMARY KEY (id),
    CONSTRAINT downloads_purchase FOREIGN KEY (purchase_id) REFERENCES purchases (id)
);
CREATE INDEX downloads_of_purchase ON downloads (purchase_id, asset_id, id);

-- Each answer that gave a purchase's bytes away, or a link to them. sent_bytes is unknown while it
-- runs, and for ever where another server sends the bytes. Rows are never deleted.
CREATE TABLE grants (
    id TEXT COLLATE "C" NOT NULL,
    purchase_id TEXT COLLATE "C" NOT NULL,
    download_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    first_byte BIGINT NOT NULL,
    granted_bytes BIGINT NOT NULL,
    charged_bytes BIGINT NOT NULL,
    stores TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C",
    address TEXT COLLATE "C",
    ended_at BIGINT,
    sent_bytes BIGINT,
    CONSTRAINT grants_pkey PRIMARY KEY (purchase_id, id),
    CONSTRAINT grants_kind CHECK (kind IN ('stream', 'redirect', 'signed_url', 'link'))
);
