-- A shop of {models} models with ten files each, none of which is on a disk. The same as in fill_postgres.sql.
-- Nobody else has the file, and it is of no use when this fails.
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -1000000;
PRAGMA temp_store = MEMORY;
BEGIN;
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT {models})
INSERT INTO models (id, artist, title, description, license, tags, search_text, price_amount, price_currency, status,
        created_at, updated_at)
    SELECT printf('mdl_%026d', n), 'artist-' || (n / 100), 'Dragon ' || n, 'A dragon with ten parts to print.',
        'personal use', '["dragon","print"]', 'dragon ' || n || char(10) || 'a dragon with ten parts to print.'
        || char(10) || 'dragon' || char(10) || 'print', 500, 'USD',
        CASE WHEN n % 10 = 9 THEN 'draft' ELSE 'published' END, 1700000000000 + n, 1700000000000 + n
    FROM numbers;
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT {models} * 10)
INSERT INTO objects (id, key, location, state, size_bytes, sha256, chunk_sums, content_type, metadata, opened_at, live_at)
    SELECT printf('obj_%026d', n), printf('models/mdl_%026d/part-%d.stl', n / 10, n % 10),
        printf('models/mdl_%026d/part-%d.stl', n / 10, n % 10), 'live', 20000 + n % 1000, randomblob(32), zeroblob(4),
        'model/stl', '{}', 1700000000000 + n, 1700000000000 + n
    FROM numbers;
INSERT INTO placements (object_id, store, state, verified_at, updated_at, attempts, next_attempt_at)
    SELECT id, 'local', 'present', live_at, live_at, 0, live_at FROM objects;
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT {models} * 10)
INSERT INTO assets (id, model_id, filename, version, format, object_id, created_at)
    SELECT printf('ast_%026d', n), printf('mdl_%026d', n / 10), 'part-' || (n % 10) || '.stl', 1, 'stl',
        printf('obj_%026d', n), 1700000000000 + n
    FROM numbers;
-- Every model was bought once, by somebody who bought ten.
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT {models})
INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at, downloads)
    SELECT printf('pur_%026d', n), 'buyer-' || (n / 10), printf('mdl_%026d', n), 'order-' || n, 1700000000000 + n, 0
    FROM numbers;
-- The one who asks bought as many in a small shop as in a large one.
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT {bought})
INSERT INTO purchases (id, buyer, model_id, order_ref, purchased_at, downloads)
    SELECT printf('pur_%026d', {models} + n), 'collector', printf('mdl_%026d', n * ({models} / {bought})),
        'collected-' || n, 1700000000000 + n, 0
    FROM numbers;
COMMIT;
