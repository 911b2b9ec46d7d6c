-- Writes what a chunk of events changes in the rows of the read model, in one call. With a guard it is
-- also the transaction: it goes through only where the read model stands exactly where the caller read
-- it, and moves the checkpoint with the rows. So the caller may fold on rows that it read before, or
-- remembers from its last chunk, without holding anything.

-- Counts the transactions that wrote rows: those that leave the position where it is (a refold, a
-- rebuild's switch) show here.
alter table projection_checkpoint add column revision bigint not null default 0;

-- The guard: from_position and from_revision are where the caller read the read model, to_position
-- where the chunk leads, to_epoch the caller's. Null where the caller's own transaction holds the
-- checkpoint, or the tables are not the live ones.
--
-- Orders: from_versions is the version of the row that is there, zero where there is none. Lines:
-- are_known says whether they are there. What is parked already keeps its first reason.
--
-- Answers the revision after this one, or zero without a guard; null where the guard does not hold and
-- nothing was written. A row of another version than from_versions says is an error (40001).
create function write_chunk(
    from_position     bigint,
    from_revision     bigint,
    to_position       bigint,
    to_epoch          bigint,
    ids               uuid[],
    from_versions     integer[],
    customer_ids      text[],
    statuses          text[],
    currencies        text[],
    totals            bigint[],
    item_counts       integer[],
    total_quantities  bigint[],
    versions          integer[],
    positions         bigint[],
    created_ats       timestamptz[],
    updated_ats       timestamptz[],
    completed_ats     timestamptz[],
    cancelled_ats     timestamptz[],
    reasons           text[],
    line_order_ids    uuid[],
    line_item_ids     uuid[],
    line_nos          integer[],
    product_ids       text[],
    quantities        integer[],
    prices            bigint[],
    added_ats         timestamptz[],
    are_known         boolean[],
    removed_order_ids uuid[],
    removed_item_ids  uuid[],
    parked_ids        uuid[],
    parked_versions   integer[],
    parked_positions  bigint[],
    parked_types      text[],
    parked_reasons    text[]
) returns bigint language plpgsql as $$
declare
    reached  bigint := 0;
    inserted bigint := 0;
    changed  bigint := 0;
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

    if 0 = any(from_versions) then
        insert into order_views (id, customer_id, status, currency, total_minor, item_count,
                                 total_quantity, version, position, created_at, updated_at,
                                 completed_at, cancelled_at, cancellation_reason)
        select new.id, new.customer_id, new.status, new.currency, new.total_minor, new.item_count,
               new.total_quantity, new.version, new.position, new.created_at, new.updated_at,
               new.completed_at, new.cancelled_at, new.cancellation_reason
        from unnest(ids, from_versions, customer_ids, statuses, currencies, totals, item_counts,
                    total_quantities, versions, positions, created_ats, updated_ats, completed_ats,
                    cancelled_ats, reasons)
             as new(id, from_version, customer_id, status, currency, total_minor, item_count,
                    total_quantity, version, position, created_at, updated_at, completed_at,
                    cancelled_at, cancellation_reason)
        where new.from_version = 0;
        get diagnostics inserted = row_count;
    end if;
    if 0 < any(from_versions) then
        update order_views v
        set status = new.status, total_minor = new.total_minor, item_count = new.item_count,
            total_quantity = new.total_quantity, version = new.version, position = new.position,
            updated_at = new.updated_at, completed_at = new.completed_at,
            cancelled_at = new.cancelled_at, cancellation_reason = new.cancellation_reason
        from unnest(ids, from_versions, statuses, totals, item_counts, total_quantities, versions,
                    positions, updated_ats, completed_ats, cancelled_ats, reasons)
             as new(id, from_version, status, total_minor, item_count, total_quantity, version,
                    position, updated_at, completed_at, cancelled_at, cancellation_reason)
        where new.from_version > 0 and v.id = new.id and v.version = new.from_version;
        get diagnostics changed = row_count;
    end if;
    if inserted + changed <> cardinality(ids) then
        raise exception 'another writer has moved on in the read model'
            using errcode = 'serialization_failure';
    end if;

    if false = any(are_known) then
        insert into order_items (order_id, item_id, line_no, product_id, quantity, price_minor,
                                 added_at)
        select new.order_id, new.item_id, new.line_no, new.product_id, new.quantity,
               new.price_minor, new.added_at
        from unnest(line_order_ids, line_item_ids, line_nos, product_ids, quantities, prices,
                    added_ats, are_known)
             as new(order_id, item_id, line_no, product_id, quantity, price_minor, added_at,
                    is_known)
        where not new.is_known;
    end if;
    if true = any(are_known) then
        update order_items i
        set line_no = new.line_no, product_id = new.product_id, quantity = new.quantity,
            price_minor = new.price_minor, added_at = new.added_at
        from unnest(line_order_ids, line_item_ids, line_nos, product_ids, quantities, prices,
                    added_ats, are_known)
             as new(order_id, item_id, line_no, product_id, quantity, price_minor, added_at,
                    is_known)
        where new.is_known and i.order_id = new.order_id and i.item_id = new.item_id;
    end if;
    if cardinality(removed_order_ids) > 0 then
        delete from order_items i
        using unnest(removed_order_ids, removed_item_ids) as gone(order_id, item_id)
        where i.order_id = gone.order_id and i.item_id = gone.item_id;
    end if;

    if cardinality(parked_ids) > 0 then
        insert into projection_parked (order_id, version, position, event_type, reason)
        select * from unnest(parked_ids, parked_versions, parked_positions, parked_types,
                             parked_reasons)
        on conflict (order_id) do nothing;
    end if;
    return reached;
end
$$;
