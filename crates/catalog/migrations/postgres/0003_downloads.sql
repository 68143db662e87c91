-- Downloads and what they consist of: the receipt of a purchase. Constraints have the same names as
-- in the SQLite migration beside this one.

-- The newest download of each file with each purchase: the one that a request may continue.
-- charged_bytes is what its answers sent, and what those that have not ended may still send.
CREATE TABLE downloads (
    purchase_id TEXT COLLATE "C" NOT NULL,
    asset_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    began_at BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    charged_bytes BIGINT NOT NULL,
    CONSTRAINT downloads_pkey PRIMARY KEY (purchase_id, asset_id),
    CONSTRAINT downloads_purchase FOREIGN KEY (purchase_id) REFERENCES purchases (id)
);

-- What was given on the account of purchases. Rows are only ever added. One has, as JSON, the grants
-- of a purchase that were recorded together, and the ends of such as were recorded before.
CREATE TABLE ledger (
    purchase_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    lines TEXT COLLATE "C" NOT NULL,
    CONSTRAINT ledger_pkey PRIMARY KEY (purchase_id, id),
    CONSTRAINT ledger_purchase FOREIGN KEY (purchase_id) REFERENCES purchases (id)
);
