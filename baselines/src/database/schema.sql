-- What both designs keep in PostgreSQL.
--
-- Item ids are 64 bits without a sign, and bigint has one: an id is kept less 2^63, which keeps the
-- order of ids. Everything else is kept as it is.

-- One at a time: two servers may start together.
SELECT pg_advisory_xact_lock(7301);

-- Every purchase, as it was accepted.
CREATE TABLE IF NOT EXISTS purchase (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    business_date date NOT NULL,
    accepted_at timestamptz NOT NULL,
    items jsonb NOT NULL
);

-- How many pieces of an item a store has sold: the sum over all purchases, kept up to date in the
-- transaction that adds them.
CREATE TABLE IF NOT EXISTS sold (
    store_id bigint NOT NULL,
    item_id bigint NOT NULL,
    quantity bigint NOT NULL,
    PRIMARY KEY (store_id, item_id)
) WITH (fillfactor = 70);

-- The two questions read ten entries off an index.
CREATE INDEX IF NOT EXISTS sold_top_items ON sold (store_id, quantity DESC, item_id);
CREATE INDEX IF NOT EXISTS sold_top_stores ON sold (item_id, quantity DESC, store_id);

-- How far the messages of a shard have been added: of each producer, the first sequence number that has
-- not. Changed in the transaction that adds them, so a message that is delivered again is known.
CREATE TABLE IF NOT EXISTS applied (
    shard bigint NOT NULL,
    producer bigint NOT NULL,
    next_sequence bigint NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, producer)
);
