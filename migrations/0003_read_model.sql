-- The read model: the tables that the GET endpoints read. The projector fills them from the events.

-- The minute in which an order was last changed; see order_views.updated_slot.
create function updated_slot(updated_at timestamptz) returns timestamptz
    language sql immutable parallel safe
    return date_bin('1 minute', updated_at, '2000-01-01 00:00:00+00');

-- order_views: one row per order.
--   total_minor         sum of the lines in the currency's minor unit (cents)
--   item_count          number of lines
--   total_quantity      sum of the lines' quantities
--   version, position   those of the order's last event
--   updated_slot        minute of updated_at, for lists sorted by updated_at
--
-- Why updated_slot: PostgreSQL updates a row without new index entries (HOT) only while no indexed column
-- changes. An index on updated_at itself would cost a new entry in all four indexes for each event. An
-- order is mostly changed many times within a minute, so the minute is indexed, and a list sorts the rows
-- of one minute. The free space that the fillfactor leaves is where such updates go.
create table order_views (
    id                  uuid        not null,
    customer_id         text        not null,
    status              text        not null,
    currency            text        not null,
    total_minor         bigint      not null,
    item_count          integer     not null,
    total_quantity      bigint      not null,
    version             integer     not null,
    position            bigint      not null,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    completed_at        timestamptz,
    cancelled_at        timestamptz,
    cancellation_reason text,
    updated_slot        timestamptz not null generated always as (updated_slot(updated_at)) stored,
    constraint order_views_pkey primary key (id)
) with (fillfactor = 80);
create index order_views_created_at_idx on order_views (created_at, id);
create index order_views_updated_slot_idx on order_views (updated_slot);
create index order_views_customer_idx on order_views (customer_id, created_at, id);

-- order_items: one row per order line.
--   line_no      rises in order of addition; gaps are allowed
--   price_minor  price of one piece in the currency's minor unit
create table order_items (
    order_id    uuid        not null,
    item_id     uuid        not null,
    line_no     integer     not null,
    product_id  text        not null,
    quantity    integer     not null,
    price_minor bigint      not null,
    added_at    timestamptz not null,
    constraint order_items_pkey primary key (order_id, item_id)
);
create index order_items_product_idx on order_items (product_id, order_id);

-- projection_checkpoint: how far the read model is. It is updated in the transaction that writes the rows.
--   name        name of the read model; the only one is 'orders'
--   position    the read model includes all events up to here
--   epoch       epoch of the lease under which it was last updated
--   revision    number of transactions that wrote rows; a refold or a rebuild changes it, not position
create table projection_checkpoint (
    name       text        not null,
    position   bigint      not null,
    epoch      bigint      not null default 0,
    updated_at timestamptz not null default now(),
    revision   bigint      not null default 0,
    constraint projection_checkpoint_pkey primary key (name)
);
insert into projection_checkpoint (name, position) values ('orders', 0);

-- projection_parked: orders with an event that cannot be applied. Their rows stay as they were before
-- that event, and reads of them are answered from the event store until the order is refolded.
--   version, position, event_type  of the event that cannot be applied
create table projection_parked (
    order_id   uuid        not null,
    version    integer     not null,
    position   bigint      not null,
    event_type text        not null,
    reason     text        not null,
    parked_at  timestamptz not null default now(),
    constraint projection_parked_pkey primary key (order_id)
);

-- The rows that write_chunk takes. One array of rows costs PostgreSQL up to a third less than one array per
-- column. A released type is never altered, because programs of the version before still send it: a change
-- needs a new type and a new write_chunk beside the old one.

-- A new or changed row of order_views. from_version is the version of the stored row, 0 for a new one.
create type order_change as (
    from_version        integer,
    id                  uuid,
    customer_id         text,
    status              text,
    currency            text,
    total_minor         bigint,
    item_count          integer,
    total_quantity      bigint,
    version             integer,
    position            bigint,
    created_at          timestamptz,
    updated_at          timestamptz,
    completed_at        timestamptz,
    cancelled_at        timestamptz,
    cancellation_reason text
);

-- A new or changed row of order_items.
create type item_change as (
    order_id    uuid,
    item_id     uuid,
    line_no     integer,
    product_id  text,
    quantity    integer,
    price_minor bigint,
    added_at    timestamptz
);

-- The key of a row of order_items.
create type item_key as (
    order_id uuid,
    item_id  uuid
);

-- A new row of projection_parked.
create type parked_order as (
    order_id   uuid,
    version    integer,
    position   bigint,
    event_type text,
    reason     text
);

-- Writes the changed rows of a chunk of events, in one call.
--
-- With a guard, the call is the whole transaction: it writes only if the checkpoint is still where the
-- caller read it, and updates it with the rows. So a caller may fold on rows that it read or wrote
-- earlier, without a lock.
--   from_position, from_revision  the checkpoint that the caller read; null: no guard, because the
--                                 caller's transaction has locked the checkpoint, or writes tables that
--                                 are not in use yet
--   to_position                   the new position
--   to_epoch                      epoch of the caller's lease
--   parked                        orders to park; an order that is parked already keeps its first reason
--
-- Returns the new revision (0 without a guard), or null when the checkpoint has moved and nothing was
-- written. Raises serialization_failure when a row of changed_orders is not stored at its from_version.
create function write_chunk(
    from_position  bigint,
    from_revision  bigint,
    to_position    bigint,
    to_epoch       bigint,
    new_orders     order_change[],
    changed_orders order_change[],
    new_items      item_change[],
    changed_items  item_change[],
    removed_items  item_key[],
    parked         parked_order[]
) returns bigint language plpgsql as $$
declare
    reached bigint := 0;
    changed bigint := 0;
begin
    if from_position is not null then
        update projection_checkpoint c
        set position = to_position, epoch = to_epoch, revision = c.revision + 1, updated_at = now()
        where c.name = 'orders' and c.position = from_position and c.revision = from_revision
            and c.epoch <= to_epoch
        returning c.revision into reached;
        if not found then
            return null;
        end if;
    end if;

    -- A step without rows is skipped: starting a statement costs more than ten rows.
    if cardinality(new_orders) > 0 then
        insert into order_views (id, customer_id, status, currency, total_minor, item_count,
                                 total_quantity, version, position, created_at, updated_at,
                                 completed_at, cancelled_at, cancellation_reason)
        select new.id, new.customer_id, new.status, new.currency, new.total_minor, new.item_count,
               new.total_quantity, new.version, new.position, new.created_at, new.updated_at,
               new.completed_at, new.cancelled_at, new.cancellation_reason
        from unnest(new_orders) as new;
    end if;
    if cardinality(changed_orders) > 0 then
        update order_views v
        set status = new.status, total_minor = new.total_minor, item_count = new.item_count,
            total_quantity = new.total_quantity, version = new.version, position = new.position,
            updated_at = new.updated_at, completed_at = new.completed_at,
            cancelled_at = new.cancelled_at, cancellation_reason = new.cancellation_reason
        from unnest(changed_orders) as new
        where v.id = new.id and v.version = new.from_version;
        get diagnostics changed = row_count;
    end if;
    if changed <> cardinality(changed_orders) then
        raise exception 'a row of the read model was changed by another writer'
            using errcode = 'serialization_failure';
    end if;

    if cardinality(new_items) > 0 then
        insert into order_items (order_id, item_id, line_no, product_id, quantity, price_minor,
                                 added_at)
        select new.order_id, new.item_id, new.line_no, new.product_id, new.quantity,
               new.price_minor, new.added_at
        from unnest(new_items) as new;
    end if;
    if cardinality(changed_items) > 0 then
        update order_items i
        set line_no = new.line_no, product_id = new.product_id, quantity = new.quantity,
            price_minor = new.price_minor, added_at = new.added_at
        from unnest(changed_items) as new
        where i.order_id = new.order_id and i.item_id = new.item_id;
    end if;
    if cardinality(removed_items) > 0 then
        delete from order_items i
        using unnest(removed_items) as gone
        where i.order_id = gone.order_id and i.item_id = gone.item_id;
    end if;

    if cardinality(parked) > 0 then
        insert into projection_parked (order_id, version, position, event_type, reason)
        select new.order_id, new.version, new.position, new.event_type, new.reason
        from unnest(parked) as new
        on conflict (order_id) do nothing;
    end if;
    return reached;
end
$$;
