-- The slot that an order's last change falls into (0007) is a minute now instead of five seconds. Orders
-- are filled line by line over minutes: half of all changes fell into another slot than the change
-- before, and each of those wrote into all four indexes. A list sorted by updated_at sorts the orders
-- that changed within the same minute; some ten thousand of them are some milliseconds.
--
-- Adding the column writes the table anew: reads of the read model wait meanwhile.
alter table order_views drop column updated_slot;
create or replace function updated_slot(updated_at timestamptz) returns timestamptz
    language sql immutable parallel safe
    return date_bin('1 minute', updated_at, '2000-01-01 00:00:00+00');
alter table order_views add column updated_slot timestamptz not null
    generated always as (updated_slot(updated_at)) stored;
create index order_views_updated_slot_idx on order_views (updated_slot);
