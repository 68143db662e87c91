-- A shop of {models} models with ten files each, none of which is on a disk. The same as in fill_sqlite.sql.
-- What the rows refer to is there; looking once more at each would take longer than all the rest.
SET session_replication_role = replica;
BEGIN;
INSERT INTO models (id, artist, title, description, license, tags, search_text, price_amount, price_currency, status,
        created_at, updated_at)
    SELECT 'mdl_' || lpad(n::text, 26, '0'), 'artist-' || (n / 100), 'Dragon ' || n, 'A dragon with ten parts to print.',
        'personal use', '["dragon","print"]', 'dragon ' || n || chr(10) || 'a dragon with ten parts to print.'
        || chr(10) || 'dragon' || chr(10) || 'print', 500, 'USD',
        CASE WHEN n % 10 = 9 THEN 'draft' ELSE 'published' END, 1700000000000 + n, 1700000000000 + n
    FROM generate_series(0, {models} - 1) n;
INSERT INTO objects (id, key, location, state, size_bytes, sha256, chunk_sums, content_type, metadata, opened_at, live_at)
    SELECT 'obj_' || lpad(n::text, 26, '0'), 'models/mdl_' || lpad((n / 10)::text, 26, '0') || '/part-' || n % 10 || '.stl',
        'models/mdl_' || lpad((n / 10)::text, 26, '0') || '/part-' || n % 10 || '.stl', 'live', 20000 + n % 1000,
        sha256(n::text::bytea), '\x00000000'::bytea, 'model/stl', '{}', 1700000000000 + n, 1700000000000 + n
    FROM generate_series(0, {models} * 10 - 1) n;
INSERT INTO placements (object_id, store, state, verified_at, updated_at, attempts, next_attempt_at)
    SELECT id, 'local', 'present', live_at, live_at, 0, live_at FROM objects;
INSERT INTO assets (id, model_id, filename, version, format, object_id, created_at)
    SELECT 'ast_' || lpad(n::text, 26, '0'), 'mdl_' || lpad((n / 10)::text, 26, '0'), 'part-' || n % 10 || '.stl', 1, 'stl',
        'obj_' || lpad(n::text, 26, '0'), 1700000000000 + n
    FROM generate_series(0, {models} * 10 - 1) n;
-- Every model was bought once, by somebody who bought ten.
INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at, downloads)
    SELECT 'pur_' || lpad(n::text, 26, '0'), 'buyer-' || (n / 10), 'mdl_' || lpad(n::text, 26, '0'), 'order-' || n,
        1700000000000 + n, 0
    FROM generate_series(0, {models} - 1) n;
-- The one who asks bought as many in a small shop as in a large one.
INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at, downloads)
    SELECT 'pur_' || lpad(({models} + n)::text, 26, '0'), 'collector',
        'mdl_' || lpad((n * ({models} / {bought}))::text, 26, '0'), 'collected-' || n, 1700000000000 + n, 0
    FROM generate_series(0, {bought} - 1) n;
COMMIT;
-- What the server does by itself after a while.
VACUUM ANALYZE;
