-- Refunds by the shop's own name of the order, for ever: one may be told of before its purchase, which
-- is then recorded as refunded. The table has the same constraints as in the SQLite migration
-- beside this one.

-- The first refund of an order. reason is for people.
CREATE TABLE refunds (
    order_ref TEXT COLLATE "C" NOT NULL,
    refunded_at BIGINT NOT NULL,
    reason TEXT COLLATE "C",
    CONSTRAINT refunds_pkey PRIMARY KEY (order_ref)
);

-- What is refunded already is remembered in the same way.
INSERT INTO refunds (order_ref, refunded_at)
    SELECT order_ref, refunded_at FROM purchases WHERE refunded_at IS NOT NULL;
