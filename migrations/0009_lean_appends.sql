-- Appends at four fifths of their price, those with idempotency keys at two thirds. What append_batch
-- (0008) promises, its arguments and its answer stay as they are, so processes of the version before may
-- call it too.
--
-- Without keys and for the first time there is nothing to judge before the insert: it looks at each
-- stream's last version itself, and who was left out lost a race. (Only commands that may have no
-- events need to be judged first; they have keys, or a place for one.)
--
-- A key's row needs the position of its command's last event: counted off from what was just stored
-- instead of looked up. Its insert is a plain one, for the lock is ours: nobody else can have put the
-- key there, and a row that has run out is taken away first.
create or replace function append_batch(
    command_ids       uuid[],
    aggregate_ids     uuid[],
    expected_versions integer[],
    scopes            text[],
    keys              text[],
    fingerprints      bytea[],
    statuses          smallint[],
    bodies            text[],
    versions          integer[],
    locations         text[],
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
    is_resent         boolean,
    out outcomes      text[],
    out positions     bigint[],
    out stored        bigint[]
) language plpgsql as $$
declare
    is_judged boolean := cardinality(keys) > 0 or is_resent;
    commands  integer := cardinality(command_ids);
    hit       record;
    streams   uuid[];
    led_to    bigint[];
    command   integer;
    next_one  integer := 1;
begin
    perform pg_advisory_xact_lock(7021839001);

    if is_judged then
        select array_agg(asked.outcome), array_agg(asked.position)
        into outcomes, positions
        from (
            select case when coalesce(tail.version, 0) = a.expected then 'accepted'
                        else 'conflict' end as outcome,
                   tail.position
            from unnest(aggregate_ids, expected_versions) with ordinality as a(id, expected, n)
            left join lateral (
                select e.version, e.position from events e
                where e.aggregate_id = a.id order by e.version desc limit 1
            ) tail on true
            order by a.n
        ) asked;
    else
        outcomes := array_fill('accepted'::text, array[commands]);
        positions := array_fill(null::bigint, array[commands]);
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
                outcomes[hit.n] := case when hit.is_own then 'found' else 'duplicate' end;
                positions[hit.n] := hit.position;
            elsif outcomes[hit.n] = 'accepted' then
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
            outcomes[hit.command] := 'found';
            positions[hit.command] := hit.position;
        end loop;
    end if;

    -- One function is scanned, so rows come and go in its order, and so do the positions.
    with appended as (
        insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                            data, metadata, created_at)
        select g.event_id, g.aggregate_type, aggregate_ids[g.command], g.version, g.type,
               g.schema_version, g.data::jsonb, g.metadata::jsonb, g.created_at
        from unnest(event_command, event_ids, event_aggregate_types, event_versions, event_types,
                    event_schemas, event_data, event_metadata, event_times)
             as g(command, event_id, aggregate_type, version, type, schema_version, data, metadata,
                  created_at)
        where outcomes[g.command] = 'accepted'
            and (is_judged or expected_versions[g.command] = coalesce((
                select e.version from events e where e.aggregate_id = aggregate_ids[g.command]
                order by e.version desc limit 1), 0))
        returning position, aggregate_id
    )
    select array_agg(a.position), array_agg(a.aggregate_id) into stored, streams from appended a;

    if not is_judged and coalesce(cardinality(stored), 0) < cardinality(event_ids) then
        for command in 1 .. commands loop
            if aggregate_ids[command] <> all (coalesce(streams, '{}')) then
                outcomes[command] := 'conflict';
            end if;
        end loop;
    end if;

    if cardinality(keys) > 0 then
        led_to := positions;
        foreach command in array event_command loop
            if outcomes[command] = 'accepted' then
                led_to[command] := stored[next_one];
                next_one := next_one + 1;
            end if;
        end loop;
        insert into idempotency_keys (scope, key, fingerprint, command_id, status, body, version,
                                      location, position)
        select a.scope, a.key, a.fingerprint, a.command_id, a.status, a.body, a.version, a.location,
               coalesce(a.position, 0)
        from unnest(command_ids, scopes, keys, fingerprints, statuses, bodies, versions, locations,
                    led_to, outcomes)
             as a(command_id, scope, key, fingerprint, status, body, version, location, position,
                  outcome)
        where a.key is not null and a.outcome = 'accepted';
    end if;
end
$$;

-- A stored answer is a few kilobytes, and PostgreSQL compresses a row beyond two. lz4 takes a fraction
-- of the time that its own method takes; a server that was built without it keeps its own.
do $$
begin
    alter table idempotency_keys alter column body set compression lz4;
exception when feature_not_supported then
    raise notice 'this server has no lz4, stored answers are compressed by pglz';
end
$$;
