-- The first shape of the catalog on SQLite. Constraints and indexes have the same names as in the
-- PostgreSQL migration beside this one. Times are Unix milliseconds in UTC, sizes are bytes, ids
-- are stored as they are shown. Texts compare byte by byte, which is SQLite's default.

CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT meta_pkey PRIMARY KEY (name)
) STRICT;

-- API keys. Only the SHA-256 of a key is stored.
CREATE TABLE keys (
    id TEXT NOT NULL,
    hash BLOB NOT NULL,
    role TEXT NOT NULL,
    subject TEXT,
    name TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    CONSTRAINT keys_pkey PRIMARY KEY (id),
    CONSTRAINT keys_hash_unique UNIQUE (hash),
    CONSTRAINT keys_hash_size CHECK (length(hash) = 32),
    CONSTRAINT keys_role CHECK (role IN ('operator', 'service', 'artist', 'buyer')),
    CONSTRAINT keys_subject CHECK (role IN ('operator', 'service') OR subject IS NOT NULL)
) STRICT;

-- Listings. search_text is what a search looks in: title, description and tags in lower case.
CREATE TABLE models (
    id TEXT NOT NULL,
    artist TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    license TEXT,
    tags TEXT NOT NULL,
    search_text TEXT NOT NULL,
    price_amount INTEGER,
    price_currency TEXT,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    CONSTRAINT models_pkey PRIMARY KEY (id),
    CONSTRAINT models_status CHECK (status IN ('draft', 'published')),
    CONSTRAINT models_price CHECK ((price_amount IS NULL) = (price_currency IS NULL))
) STRICT;
CREATE INDEX models_all ON models (id) WHERE deleted_at IS NULL;
CREATE INDEX models_published ON models (id) WHERE status = 'published' AND deleted_at IS NULL;
CREATE INDEX models_by_artist ON models (artist, id) WHERE deleted_at IS NULL;

-- Immutable bytes. Readers know them by key, stores by location. Rows that were ever live are never
-- deleted, so a location is never used twice.
CREATE TABLE objects (
    id TEXT NOT NULL,
    key TEXT NOT NULL,
    location TEXT NOT NULL,
    state TEXT NOT NULL,
    size_bytes INTEGER,
    sha256 BLOB,
    chunk_sums BLOB,
    content_type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    live_at INTEGER,
    retire_after INTEGER,
    gone_at INTEGER,
    lease_until INTEGER,
    CONSTRAINT objects_pkey PRIMARY KEY (id),
    CONSTRAINT objects_location_unique UNIQUE (location),
    CONSTRAINT objects_state CHECK (state IN ('receiving', 'live', 'retiring', 'gone')),
    CONSTRAINT objects_facts CHECK (
        live_at IS NULL
        OR (coalesce(size_bytes, -1) >= 0 AND coalesce(length(sha256), 0) = 32 AND chunk_sums IS NOT NULL)
    ),
    CONSTRAINT objects_live_at CHECK (live_at IS NOT NULL OR state IN ('receiving', 'gone')),
    CONSTRAINT objects_retire_after CHECK (retire_after IS NOT NULL OR state <> 'retiring')
) STRICT;
-- A key names at most one object at a time.
CREATE UNIQUE INDEX objects_live_key ON objects (key) WHERE state = 'live';
CREATE INDEX objects_retiring ON objects (retire_after) WHERE state = 'retiring';
CREATE INDEX objects_leased ON objects (lease_until) WHERE lease_until IS NOT NULL;

-- Where an object's bytes are, or should be.
CREATE TABLE placements (
    object_id TEXT NOT NULL,
    store TEXT NOT NULL,
    state TEXT NOT NULL,
    verified_at INTEGER,
    updated_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    last_error TEXT,
    CONSTRAINT placements_pkey PRIMARY KEY (object_id, store),
    CONSTRAINT placements_object FOREIGN KEY (object_id) REFERENCES objects (id),
    CONSTRAINT placements_state CHECK (state IN ('copying', 'present', 'suspect', 'retiring', 'gone'))
) STRICT, WITHOUT ROWID;
CREATE INDEX placements_by_state ON placements (store, state, next_attempt_at);

-- One version of one file of a model.
CREATE TABLE assets (
    id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    filename TEXT NOT NULL,
    version INTEGER NOT NULL,
    format TEXT NOT NULL,
    object_id TEXT NOT NULL,
    report TEXT,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    CONSTRAINT assets_pkey PRIMARY KEY (id),
    CONSTRAINT assets_version_unique UNIQUE (model_id, filename, version),
    CONSTRAINT assets_object_unique UNIQUE (object_id),
    CONSTRAINT assets_version CHECK (version >= 1),
    CONSTRAINT assets_model FOREIGN KEY (model_id) REFERENCES models (id),
    CONSTRAINT assets_object FOREIGN KEY (object_id) REFERENCES objects (id)
) STRICT;
CREATE INDEX assets_of_model ON assets (model_id, id) WHERE deleted_at IS NULL;

-- What lets a buyer download a model's assets. Rows are never deleted: an order applies once, for ever.
CREATE TABLE purchases (
    id TEXT NOT NULL,
    buyer TEXT NOT NULL,
    model_id TEXT NOT NULL,
    order_ref TEXT NOT NULL,
    purchased_at INTEGER NOT NULL,
    expires_at INTEGER,
    download_limit INTEGER,
    downloads INTEGER NOT NULL,
    refunded_at INTEGER,
    CONSTRAINT purchases_pkey PRIMARY KEY (id),
    CONSTRAINT purchases_order_unique UNIQUE (order_ref),
    CONSTRAINT purchases_limit CHECK (download_limit >= 0),
    CONSTRAINT purchases_downloads CHECK (downloads >= 0),
    CONSTRAINT purchases_model FOREIGN KEY (model_id) REFERENCES models (id)
) STRICT;
CREATE INDEX purchases_of_buyer ON purchases (buyer, id);
CREATE INDEX purchases_of_model ON purchases (model_id, id);
CREATE INDEX purchases_of_buyer_and_model ON purchases (buyer, model_id, id);
