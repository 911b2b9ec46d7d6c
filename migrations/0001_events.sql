-- The event store: one table that only grows.
--
-- position     place in the whole store; equals commit order, because appends take turns (below)
-- event_id     the event's own id; a resent append is recognised by it
-- version      place in the stream: 1, 2, 3 … without a hole; the primary key is the referee
-- type         stored name of the event, a promise
-- schema_version  version of the shape of `data`; never the stream version
-- created_at   when it happened, as the writer's clock said (`occurredAt`)
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
    constraint events_pkey primary key (aggregate_id, version),
    constraint events_event_id_key unique (event_id),
    constraint events_position_key unique (position),
    constraint events_version_check check (version > 0),
    constraint events_schema_version_check check (schema_version > 0)
);

-- Appends take turns: whoever waits here has not drawn an identity value yet, so the order of
-- positions is the order of commits, and "position > cursor" misses nothing.
create function events_serialise_appends() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(7021839001);
    return null;
end
$$;

create trigger events_serialise_appends before insert on events
    for each statement execute function events_serialise_appends();

-- What happened is never rewritten. Maintenance (an erasure order, say) sets
-- `orders.allow_event_maintenance = on` in its own transaction.
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

-- Snapshots are a cache of folded state. schema_version is that of the state.
create table snapshots (
    aggregate_id   uuid        not null,
    aggregate_type text        not null,
    version        integer     not null,
    schema_version integer     not null,
    state          jsonb       not null,
    created_at     timestamptz not null default now(),
    constraint snapshots_pkey primary key (aggregate_id)
);

-- What a command with an idempotency key led to; committed with its events.
--
-- command_id   which attempt wrote the row; a resent append recognises its own
-- fingerprint  SHA-256 of the request
-- body         the stored answer, byte for byte
-- version      the order's version in that answer (its ETag)
-- position     the position of the command's last event (its Consistency-Token)
create table idempotency_keys (
    scope       text        not null,
    key         text        not null,
    fingerprint bytea       not null,
    command_id  uuid        not null,
    status      smallint    not null,
    body        text        not null,
    version     integer     not null,
    location    text,
    position    bigint      not null,
    created_at  timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (scope, key)
);
create index idempotency_keys_created_at_idx on idempotency_keys (created_at);

-- Who may do what only one may do, by the database's clock. epoch counts the changes of hands.
create table leases (
    name   text        not null,
    holder uuid        not null,
    until  timestamptz not null,
    epoch  bigint      not null,
    constraint leases_pkey primary key (name)
);
