-- append_batch (0009) with a lighter answer: one number a command, and in a plain batch what the insert
-- returns is that answer as it stands. An append of one command takes three quarters of the time.
-- append_batch stays for processes of the version before, which may run beside this one.
--
-- Appends commands and their events, all in the transaction of the call. Arguments: one element a
-- command in the first group (from the scopes on none at all where no command has a key), one element an
-- event in the second. At most one command an aggregate and one a key. is_resent says that an earlier
-- try may have been stored: its commands are recognised then.
--
-- Answers for each command the position of its stream's last event where it was stored, by this call or
-- by an earlier try; -1 where its stream is not at the expected version; -2 where its key was used before.
--
-- Without keys and for the first time there is nothing to judge before the insert: it looks at each
-- stream's last version itself. (A command without events has a key, or a place for one.)
create function append_commands(
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
    is_resent         boolean
) returns bigint[] language plpgsql as $$
declare
    is_judged boolean := cardinality(keys) > 0 or is_resent;
    commands  integer := cardinality(command_ids);
    hit       record;
    judged    bigint[];  -- null where the command is to be stored
    tails     bigint[];
    stored    bigint[];
    positions bigint[];
    command   integer;
    next_one  integer := 1;
begin
    -- An expression: PERFORM would run a whole query for it. It is never null.
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
    -- What is left are commands without events: their streams stay where they are.
    for command in 1 .. commands loop
        if positions[command] is null then
            positions[command] := coalesce(tails[command], 0);
        end if;
    end loop;

    if cardinality(keys) > 0 then
        insert into idempotency_keys (scope, key, fingerprint, command_id, status, body, version,
                                      location, position)
        select a.scope, a.key, a.fingerprint, a.command_id, a.status, a.body, a.version, a.location,
               a.position
        from unnest(command_ids, scopes, keys, fingerprints, statuses, bodies, versions, locations,
                    positions, judged)
             as a(command_id, scope, key, fingerprint, status, body, version, location, position,
                  judged)
        where a.key is not null and a.judged is null;
    end if;
    return positions;
end
$$;

create or replace function events_serialise_appends() returns trigger language plpgsql as $$
begin
    -- As above: the lock costs an expression, not a query.
    if pg_advisory_xact_lock(7021839001) is null then return null; end if;
    return null;
end
$$;
