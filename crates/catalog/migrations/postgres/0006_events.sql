-- What other programs are told of, and how far that has come. Constraints and indexes have the same
-- names as in the SQLite migration beside this one.

-- Where events are sent. secret signs them; old_secret signs them too until old_secret_until. Rows
-- are never deleted, so that what was sent to one can still be read.
CREATE TABLE endpoints (
    id TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL,
    disabled_reason TEXT COLLATE "C",
    secret TEXT COLLATE "C" NOT NULL,
    old_secret TEXT COLLATE "C",
    old_secret_until BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT endpoints_state CHECK (state IN ('enabled', 'disabled', 'deleted')),
    CONSTRAINT endpoints_old_secret CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
CREATE INDEX endpoints_enabled ON endpoints (id) WHERE state = 'enabled';

-- Which kinds of events an endpoint is sent; * stands for all.
CREATE TABLE subscriptions (
    endpoint_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (kind, endpoint_id),
    CONSTRAINT subscriptions_endpoint FOREIGN KEY (endpoint_id) REFERENCES endpoints (id)
);
CREATE INDEX subscriptions_of_endpoint ON subscriptions (endpoint_id);

-- What happened, recorded in the transaction in which it did, when an endpoint wants to know. body is
-- what is sent, byte by byte.
CREATE TABLE events (
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (id)
);
CREATE INDEX events_by_age ON events (created_at);

-- One event on its way to one endpoint.
CREATE TABLE deliveries (
    event_id TEXT COLLATE "C" NOT NULL,
    endpoint_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    last_status BIGINT,
    last_error TEXT COLLATE "C",
    updated_at BIGINT NOT NULL,
    CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, endpoint_id),
    CONSTRAINT deliveries_event FOREIGN KEY (event_id) REFERENCES events (id),
    CONSTRAINT deliveries_endpoint FOREIGN KEY (endpoint_id) REFERENCES endpoints (id),
    CONSTRAINT deliveries_state CHECK (state IN ('waiting', 'delivered', 'failed'))
);
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id, event_id);
CREATE INDEX deliveries_waiting ON deliveries (endpoint_id, next_attempt_at) WHERE state = 'waiting';
