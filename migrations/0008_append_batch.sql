-- Appends many commands' events in one statement and says for each command what became of it: what
-- append_events (0002, 0005) does, in a third of its time beside the inserting itself. That was one
-- statement of many parts, and to set up and take down so many parts cost more than ten commands.
-- Here each step is a small statement with a kept plan, and a step without work is left out.
-- (append_events stays for processes of the version before, which may still run beside this one.)
--
-- Each of its statements sees what was committed before that statement began: the lock is taken
-- first, so the versions and keys looked at afterwards are the last ones, and a conflict of one
-- command cannot fail its neighbours. The primary key stays the referee.
--
-- The first group of arguments has one element a command, the last one element an event, in the
-- commands' order; event_command points (from 1) into the first group. The arguments from scopes to
-- locations have one element a command as well, or none at all where no command has a key.
--
-- outcomes, one a command:
--   'accepted'  stored now
--   'found'     stored by an earlier try of the same command
--   'conflict'  the stream is not at the expected version
--   'duplicate' the key was used before
-- positions, one a command: of its own last event where it is found, else of its stream's last event
--   before it (null where there is none)
-- stored: the positions of the accepted commands' events, in their order (null where there are none)
create function append_batch(
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
    hit record;
begin
    perform pg_advisory_xact_lock(7021839001);

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

    if cardinality(keys) > 0 then
        for hit in
            select a.n, k.position, k.command_id = a.command_id and is_resent as is_own
            from unnest(command_ids, scopes, keys) with ordinality as a(command_id, scope, key, n)
            join idempotency_keys k on k.scope = a.scope and k.key = a.key
            where k.created_at > now() - key_ttl
        loop
            outcomes[hit.n] := case when hit.is_own then 'found' else 'duplicate' end;
            positions[hit.n] := hit.position;
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
        returning position
    )
    select array_agg(a.position) into stored from appended a;

    if cardinality(keys) > 0 then
        insert into idempotency_keys (scope, key, fingerprint, command_id, status, body, version,
                                      location, position)
        select a.scope, a.key, a.fingerprint, a.command_id, a.status, a.body, a.version, a.location,
               coalesce((select e.position from events e where e.aggregate_id = a.aggregate_id
                         order by e.version desc limit 1), 0)
        from unnest(command_ids, aggregate_ids, scopes, keys, fingerprints, statuses, bodies,
                    versions, locations)
             with ordinality as a(command_id, aggregate_id, scope, key, fingerprint, status, body,
                                  version, location, n)
        where a.key is not null and outcomes[a.n] = 'accepted'
        -- Only a row that has run out can stand here: others were found to be duplicates.
        on conflict on constraint idempotency_keys_pkey do update
        set fingerprint = excluded.fingerprint, command_id = excluded.command_id,
            status = excluded.status, body = excluded.body, version = excluded.version,
            location = excluded.location, position = excluded.position, created_at = now();
    end if;
end
$$;
