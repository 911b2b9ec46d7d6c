-- The event store: events and snapshots.
--
-- events: all events of all aggregates. Rows are only added.
--   position        place in the whole store; positions are in commit order
--   event_id        id of the event; it also identifies an event that is sent twice
--   aggregate_type  kind of aggregate
--   aggregate_id    id of the aggregate, and of its stream
--   version         place in the stream: 1, 2, 3 … without a gap
--   type            stored name of the event; it never changes
--   schema_version  version of the shape of `data`; not the version in the stream
--   data            content of the event
--   metadata        who sent the command, and its trace
--   created_at      when it happened, by the writer's clock (`occurredAt`)
create table events (
    position       bigint generated always as identity,
    event_id       uuid        not null,
    aggregate_type text        not null,
    aggregate_id   uuid        not null,
    version        integer     not null,
    type           text        not null,
    schema_version smallint    not null,
    data           jsonb       not null,
    metadata       jsonb       not null,
    created_at     timestamptz not null,
    -- Of two appends to the same version of a stream, this key lets only one succeed.
    constraint events_pkey primary key (aggregate_id, version),
    constraint events_event_id_key unique (event_id),
    constraint events_position_key unique (position),
    constraint events_version_check check (version > 0),
    constraint events_schema_version_check check (schema_version > 0)
);

-- Appends run one after another. A transaction that waits for this lock has not drawn a position yet.
-- So positions are in commit order, and a reader of "position > cursor" never misses an event.
create function events_serialise_appends() returns trigger language plpgsql as $$
begin
    -- An expression is cheaper than PERFORM, which runs a query. It is never null.
    if pg_advisory_xact_lock(7021839001) is null then return null; end if;
    return null;
end
$$;

create trigger events_serialise_appends before insert on events
    for each statement execute function events_serialise_appends();

-- Events are never changed or deleted. Maintenance that must do it (a legal request to erase data, for
-- example) sets `orders.allow_event_maintenance = on` in its transaction.
create function events_refuse_change() returns trigger language plpgsql as $$
begin
    if current_setting('orders.allow_event_maintenance', true) = 'on' then
        return case when tg_level = 'STATEMENT' then null when tg_op = 'DELETE' then old else new end;
    end if;
    raise exception 'events are never changed: % refused', lower(tg_op)
        using errcode = 'restrict_violation';
end
$$;

create trigger events_refuse_change before update or delete on events
    for each row execute function events_refuse_change();
create trigger events_refuse_truncate before truncate on events
    for each statement execute function events_refuse_change();

-- snapshots: a cache of folded state, one row per aggregate.
--   version         version of the stream that the state includes
--   schema_version  version of the shape of `state`
create table snapshots (
    aggregate_id   uuid        not null,
    aggregate_type text        not null,
    version        integer     not null,
    schema_version integer     not null,
    state          jsonb       not null,
    created_at     timestamptz not null default now(),
    constraint snapshots_pkey primary key (aggregate_id)
);
