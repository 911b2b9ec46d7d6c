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

-- Appends the events of many commands and stores their keys, in the transaction of the call.
--
-- Arguments from command_ids to key_ttl: arrays with one element per command. From scopes to versions
-- they are empty when no command of the batch has a key.
-- Arguments from event_command on: arrays with one element per event, in the order of the commands.
--   event_command  number of the event's command, from 1
--   is_resent      true when an earlier call may have stored the batch; its commands are then recognised
-- A batch has at most one command per aggregate and per key.
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
    command_ids       uuid[],
    aggregate_ids     uuid[],
    expected_versions integer[],
    scopes            text[],
    keys              text[],
    fingerprints      bytea[],
    versions          integer[],
    key_ttl           interval,
    event_command     integer[],
    event_ids         uuid[],
    event_aggregate_types text[],
    event_versions    integer[],
    event_types       text[],
    event_schemas     smallint[],
    event_data        text[],
    event_metadata    text[],
    event_times       timestamptz[],
    is_resent         boolean
) returns bigint[] language plpgsql as $$
declare
    -- Without keys, the insert below checks the versions itself in a first call. Commands without
    -- events are always judged: the caller sends them with keys, null where there is none.
    is_judged boolean := cardinality(keys) > 0 or is_resent;
    commands  integer := cardinality(command_ids);
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
        select array_agg(case when coalesce(tail.version, 0) = a.expected then null else -1 end
                         order by a.n),
               array_agg(tail.position order by a.n)
        into judged, tails
        from unnest(aggregate_ids, expected_versions) with ordinality as a(id, expected, n)
        left join lateral (
            select e.version, e.position from events e
            where e.aggregate_id = a.id order by e.version desc limit 1
        ) tail on true;
    end if;

    if cardinality(keys) > 0 then
        for hit in
            select a.n, k.scope, k.key, k.position,
                   k.created_at > now() - key_ttl as is_valid,
                   k.command_id = a.command_id and is_resent as is_own
            from unnest(command_ids, scopes, keys) with ordinality as a(command_id, scope, key, n)
            join idempotency_keys k on k.scope = a.scope and k.key = a.key
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
            from unnest(event_command, event_ids) as g(command, event_id)
            join events e on e.event_id = g.event_id
            group by g.command
        loop
            judged[hit.command] := hit.position;
        end loop;
    end if;

    -- A scan of one function keeps the order of its rows, so the positions come in the same order.
    with appended as (
        insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                            data, metadata, created_at)
        select g.event_id, g.aggregate_type, aggregate_ids[g.command], g.version, g.type,
               g.schema_version, g.data::jsonb, g.metadata::jsonb, g.created_at
        from unnest(event_command, event_ids, event_aggregate_types, event_versions, event_types,
                    event_schemas, event_data, event_metadata, event_times)
             as g(command, event_id, aggregate_type, version, type, schema_version, data, metadata,
                  created_at)
        where judged[g.command] is null
            and (is_judged or expected_versions[g.command] = coalesce((
                select e.version from events e where e.aggregate_id = aggregate_ids[g.command]
                order by e.version desc limit 1), 0))
        returning position
    )
    select array_agg(a.position) into stored from appended a;

    if not is_judged then
        if cardinality(stored) = commands and cardinality(event_ids) = commands then
            return stored;
        end if;
        judged := array_fill(null::bigint, array[commands]);
        if coalesce(cardinality(stored), 0) < cardinality(event_ids) then
            for hit in
                select g.command
                from unnest(event_command, event_ids) as g(command, event_id)
                where not exists (select from events e where e.event_id = g.event_id)
            loop
                judged[hit.command] := -1;
            end loop;
        end if;
    end if;

    positions := judged;
    foreach command in array event_command loop
        if judged[command] is null then
            positions[command] := stored[next_one];
            next_one := next_one + 1;
        end if;
    end loop;
    -- Commands without events do not move their streams.
    for command in 1 .. commands loop
        if positions[command] is null then
            positions[command] := coalesce(tails[command], 0);
        end if;
    end loop;

    if cardinality(keys) > 0 then
        insert into idempotency_keys (scope, key, fingerprint, command_id, version, changed, position)
        select a.scope, a.key, a.fingerprint, a.command_id, a.version, a.version > a.expected, a.position
        from unnest(command_ids, expected_versions, scopes, keys, fingerprints, versions, positions,
                    judged)
             as a(command_id, expected, scope, key, fingerprint, version, position, judged)
        where a.key is not null and a.judged is null;
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
