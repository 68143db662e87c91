-- The first shape of the catalog on PostgreSQL. Constraints and indexes have the same names as in
-- the SQLite migration beside this one. Times are Unix milliseconds in UTC, sizes are bytes, ids
-- are stored as they are shown. Texts compare byte by byte, whatever the database's collation.

CREATE TABLE meta (
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    CONSTRAINT meta_pkey PRIMARY KEY (name)
);

-- API keys. Only the SHA-256 of a key is stored.
CREATE TABLE keys (
    id TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C",
    name TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    CONSTRAINT keys_pkey PRIMARY KEY (id),
    CONSTRAINT keys_hash_unique UNIQUE (hash),
    CONSTRAINT keys_hash_size CHECK (length(hash) = 32),
    CONSTRAINT keys_role CHECK (role IN ('operator', 'service', 'artist', 'buyer')),
    CONSTRAINT keys_subject CHECK (role IN ('operator', 'service') OR subject IS NOT NULL)
);

-- Listings. search_text is what a search looks in: title, description and tags in lower case.
CREATE TABLE models (
    id TEXT COLLATE "C" NOT NULL,
    artist TEXT COLLATE "C" NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    license TEXT COLLATE "C",
    tags TEXT COLLATE "C" NOT NULL,
    search_text TEXT COLLATE "C" NOT NULL,
    price_amount BIGINT,
    price_currency TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    CONSTRAINT models_pkey PRIMARY KEY (id),
    CONSTRAINT models_status CHECK (status IN ('draft', 'published')),
    CONSTRAINT models_price CHECK ((price_amount IS NULL) = (price_currency IS NULL))
);
CREATE INDEX models_all ON models (id) WHERE deleted_at IS NULL;
CREATE INDEX models_published ON models (id) WHERE status = 'published' AND deleted_at IS NULL;
CREATE INDEX models_by_artist ON models (artist, id) WHERE deleted_at IS NULL;

-- Immutable bytes. Readers know them by key, stores by location. Rows that were ever live are never
-- deleted, so a location is never used twice.
CREATE TABLE objects (
    id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    location TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT,
    sha256 BYTEA,
    chunk_sums BYTEA,
    content_type TEXT COLLATE "C" NOT NULL,
    metadata TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    live_at BIGINT,
    retire_after BIGINT,
    gone_at BIGINT,
    lease_until BIGINT,
    CONSTRAINT objects_pkey PRIMARY KEY (id),
    CONSTRAINT objects_location_unique UNIQUE (location),
    CONSTRAINT objects_state CHECK (state IN ('receiving', 'live', 'retiring', 'gone')),
    CONSTRAINT objects_facts CHECK (
        live_at IS NULL
        OR (coalesce(size_bytes, -1) >= 0 AND coalesce(length(sha256), 0) = 32 AND chunk_sums IS NOT NULL)
    ),
    CONSTRAINT objects_live_at CHECK (live_at IS NOT NULL OR state IN ('receiving', 'gone')),
    CONSTRAINT objects_retire_after CHECK (retire_after IS NOT NULL OR state <> 'retiring')
);
-- A key names at most one object at a time.
CREATE UNIQUE INDEX objects_live_key ON objects (key) WHERE state = 'live';
CREATE INDEX objects_retiring ON objects (retire_after) WHERE state = 'retiring';
CREATE INDEX objects_leased ON objects (lease_until) WHERE lease_until IS NOT NULL;

-- Where an object's bytes are, or should be.
CREATE TABLE placements (
    object_id TEXT COLLATE "C" NOT NULL,
    store TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    verified_at BIGINT,
    updated_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    CONSTRAINT placements_pkey PRIMARY KEY (object_id, store),
    CONSTRAINT placements_object FOREIGN KEY (object_id) REFERENCES objects (id),
    CONSTRAINT placements_state CHECK (state IN ('copying', 'present', 'suspect', 'retiring', 'gone'))
);
CREATE INDEX placements_by_state ON placements (store, state, next_attempt_at);

-- One version of one file of a model.
CREATE TABLE assets (
    id TEXT COLLATE "C" NOT NULL,
    model_id TEXT COLLATE "C" NOT NULL,
    filename TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    object_id TEXT COLLATE "C" NOT NULL,
    report TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    CONSTRAINT assets_pkey PRIMARY KEY (id),
    CONSTRAINT assets_version_unique UNIQUE (model_id, filename, version),
    CONSTRAINT assets_object_unique UNIQUE (object_id),
    CONSTRAINT assets_version CHECK (version >= 1),
    CONSTRAINT assets_model FOREIGN KEY (model_id) REFERENCES models (id),
    CONSTRAINT assets_object FOREIGN KEY (object_id) REFERENCES objects (id)
);
CREATE INDEX assets_of_model ON assets (model_id, id) WHERE deleted_at IS NULL;

-- What lets a buyer download a model's assets. Rows are never deleted: an order applies once, for ever.
CREATE TABLE purchases (
    id TEXT COLLATE "C" NOT NULL,
    buyer TEXT COLLATE "C" NOT NULL,
    model_id TEXT COLLATE "C" NOT NULL,
    order_ref TEXT COLLATE "C" NOT NULL,
    purchased_at BIGINT NOT NULL,
    expires_at BIGINT,
    download_limit BIGINT,
    downloads BIGINT NOT NULL,
    refunded_at BIGINT,
    CONSTRAINT purchases_pkey PRIMARY KEY (id),
    CONSTRAINT purchases_order_unique UNIQUE (order_ref),
    CONSTRAINT purchases_limit CHECK (download_limit >= 0),
    CONSTRAINT purchases_downloads CHECK (downloads >= 0),
    CONSTRAINT purchases_model FOREIGN KEY (model_id) REFERENCES models (id)
);
CREATE INDEX purchases_of_buyer ON purchases (buyer, id);
CREATE INDEX purchases_of_model ON purchases (model_id, id);
CREATE INDEX purchases_of_buyer_and_model ON purchases (buyer, model_id, id);
