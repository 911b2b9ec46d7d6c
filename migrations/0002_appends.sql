-- Appending: idempotency keys, and the two functions that store events together with them.
--
-- idempotency_keys: what a command with a key led to. The row is committed with the command's events.
--   scope, key   what the client sent; a key is used once in a scope
--   fingerprint  SHA-256 of the request; another request with the same key is refused
--   command_id   the command that wrote the row; a command that is sent twice finds itself by it
--   version      version of the aggregate after the command
--   changed      whether the command had events
--   position     position of the command's last event (without events: of the aggregate's last event)
-- The answer is not stored: events never change, so folding them up to `version` gives it again.
create table idempotency_keys (
    scope       text        not null,
    key         text        not null,
    fingerprint bytea       not null,
    command_id  uuid        not null,
    version     integer     not null,
    changed     boolean     not null,
    position    bigint      not null,
    created_at  timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (scope, key)
);
create index idempotency_keys_created_at_idx on idempotency_keys (created_at);

-- The rows that append_commands takes. One array of rows costs PostgreSQL up to a fifth less than one array
-- per column. A released type is never altered, because programs of the version before still send it: a
-- change needs a new type and a new append_commands beside the old one.

-- A command to append: what its stream must be like, and what its key's row holds.
--   scope, key, fingerprint  null without a key
--   version                  version of the aggregate after the command
create type new_command as (
    command_id       uuid,
    aggregate_id     uuid,
    expected_version integer,
    scope            text,
    key              text,
    fingerprint      bytea,
    version          integer
);

-- An event to append.
--   command           number of its command in the batch, from 1
--   expected_version  that of its command
create type new_event as (
    command          integer,
    aggregate_id     uuid,
    expected_version integer,
    event_id         uuid,
    aggregate_type   text,
    version          integer,
    type             text,
    schema_version   smallint,
    data             jsonb,
    metadata         jsonb,
    created_at       timestamptz
);

-- Appends the events of many commands and stores their keys, in the transaction of the call.
--
--   new_commands  at most one command per aggregate and per key
--   new_events    the commands' events, in the order of the commands
--   has_keys      true when a command has a key, or has no events
--   key_ttl       how long a key is valid
--   is_resent     true when an earlier call may have stored the batch; its commands are then recognised
--
-- Returns one number per command:
--   0 or more  stored, by this call or an earlier one: the position of the command's last event (for a
--              command without events: the last position of its stream, 0 when it is empty)
--   -1         the stream is not at the expected version
--   -2         the key was used before
--
-- Several small statements, because each sees what was committed before it began: the lock comes first,
-- so the versions and keys read afterwards are the latest, and a conflict of one command does not fail
-- the others. A step without work is skipped, because starting a statement costs more than ten rows.
create function append_commands(
    new_commands new_command[],
    new_events   new_event[],
    has_keys     boolean,
    key_ttl      interval,
    is_resent    boolean
) returns bigint[] language plpgsql as $$
declare
    -- The versions are read before the insert. In a first call without keys, the insert checks them.
    is_judged boolean := has_keys or is_resent;
    hit       record;
    judged    bigint[];  -- one element per command: its answer, or null when it is to be stored
    tails     bigint[];
    stored    bigint[];
    positions bigint[];
    command   integer;
    next_one  integer := 1;
begin
    -- An expression is cheaper than PERFORM, which runs a query. It is never null.
    if pg_advisory_xact_lock(7021839001) is null then return null; end if;

    if is_judged then
        select array_agg(case when coalesce(tail.version, 0) = c.expected_version then null else -1 end
                         order by c.n),
               array_agg(tail.position order by c.n)
        into judged, tails
        from unnest(new_commands) with ordinality
             as c(command_id, aggregate_id, expected_version, scope, key, fingerprint, version, n)
        left join lateral (
            select e.version, e.position from events e
            where e.aggregate_id = c.aggregate_id order by e.version desc limit 1
        ) tail on true;
    end if;

    if has_keys then
        for hit in
            select c.n, k.scope, k.key, k.position,
                   k.created_at > now() - key_ttl as is_valid,
                   k.command_id = c.command_id and is_resent as is_own
            from unnest(new_commands) with ordinality
                 as c(command_id, aggregate_id, expected_version, scope, key, fingerprint, version, n)
            join idempotency_keys k on k.scope = c.scope and k.key = c.key
        loop
            if hit.is_valid then
                judged[hit.n] := case when hit.is_own then hit.position else -2 end;
            elsif judged[hit.n] is null then
                -- An expired key may be used again. No one else can insert it: this call has the lock.
                delete from idempotency_keys k where k.scope = hit.scope and k.key = hit.key;
            end if;
        end loop;
    end if;

    if is_resent then
        for hit in
            select g.command, max(e.position) as position
            from unnest(new_events) as g join events e on e.event_id = g.event_id
            group by g.command
        loop
            judged[hit.command] := hit.position;
        end loop;
    end if;

    -- A scan of one function keeps the order of its rows, so the positions come in the same order.
    with appended as (
        insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                            data, metadata, created_at)
        select g.event_id, g.aggregate_type, g.aggregate_id, g.version, g.type, g.schema_version,
               g.data, g.metadata, g.created_at
        from unnest(new_events) as g
        where judged[g.command] is null
            and (is_judged or g.expected_version = coalesce((
                select e.version from events e where e.aggregate_id = g.aggregate_id
                order by e.version desc limit 1), 0))
        returning position
    )
    select array_agg(a.position) into stored from appended a;

    if not is_judged then
        if cardinality(stored) = cardinality(new_commands)
            and cardinality(new_events) = cardinality(new_commands) then
            return stored;
        end if;
        judged := array_fill(null::bigint, array[cardinality(new_commands)]);
        if coalesce(cardinality(stored), 0) < cardinality(new_events) then
            for hit in
                select g.command from unnest(new_events) as g
                where not exists (select from events e where e.event_id = g.event_id)
            loop
                judged[hit.command] := -1;
            end loop;
        end if;
    end if;

    positions := judged;
    for command in select g.command from unnest(new_events) as g loop
        if judged[command] is null then
            positions[command] := stored[next_one];
            next_one := next_one + 1;
        end if;
    end loop;
    -- Commands without events do not move their streams.
    for command in 1 .. cardinality(new_commands) loop
        if positions[command] is null then
            positions[command] := coalesce(tails[command], 0);
        end if;
    end loop;

    if has_keys then
        insert into idempotency_keys (scope, key, fingerprint, command_id, version, changed, position)
        select c.scope, c.key, c.fingerprint, c.command_id, c.version, c.version > c.expected_version,
               positions[c.n]
        from unnest(new_commands) with ordinality
             as c(command_id, aggregate_id, expected_version, scope, key, fingerprint, version, n)
        where c.key is not null and judged[c.n] is null;
    end if;
    return positions;
end
$$;

-- Appends one event: append_commands for a single command with one event and without a key, in its first
-- call. This is the most frequent batch when few clients write; scalar arguments save two fifths of
-- PostgreSQL's time.
--
-- Returns the position of the event, or -1 when the stream is not at the expected version.
create function append_event(
    stream               uuid,
    expected_version     integer,
    event_id             uuid,
    event_aggregate_type text,
    event_type           text,
    event_schema         smallint,
    event_data           jsonb,
    event_metadata       jsonb,
    event_time           timestamptz
) returns bigint language plpgsql as $$
declare
    stored bigint;
begin
    -- Before the insert, so that it sees what the previous holder of the lock has committed.
    if pg_advisory_xact_lock(7021839001) is null then return null; end if;

    insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version, data,
                        metadata, created_at)
    select event_id, event_aggregate_type, stream, expected_version + 1, event_type, event_schema,
           event_data, event_metadata, event_time
    where expected_version = coalesce((
        select e.version from events e where e.aggregate_id = stream
        order by e.version desc limit 1), 0)
    returning position into stored;
    return coalesce(stored, -1);
end
$$;
