-- The read model: what the GET endpoints show, kept by the projector from the events.

-- One row an order. version and position are those of the order's last event.
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
    constraint order_views_pkey primary key (id)
) with (fillfactor = 80);
create index order_views_created_at_idx on order_views (created_at, id);
create index order_views_updated_at_idx on order_views (updated_at, id);
create index order_views_customer_idx on order_views (customer_id, created_at, id);

-- One row a line. line_no rises in order of addition; holes are fine.
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

-- Up to which event the read model of this name is complete; moves in the transaction that moves
-- the rows. epoch is that of the lease under which it moved last.
create table projection_checkpoint (
    name       text        not null,
    position   bigint      not null,
    epoch      bigint      not null default 0,
    updated_at timestamptz not null default now(),
    constraint projection_checkpoint_pkey primary key (name)
);
insert into projection_checkpoint (name, position) values ('orders', 0);

-- Orders with an event that cannot be applied. Their rows stay as they were before it; the write
-- side answers for them until the order is refolded.
create table projection_parked (
    order_id   uuid        not null,
    version    integer     not null,
    position   bigint      not null,
    event_type text        not null,
    reason     text        not null,
    parked_at  timestamptz not null default now(),
    constraint projection_parked_pkey primary key (order_id)
);
