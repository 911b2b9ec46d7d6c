-- A command that is found stored by an earlier try answers with the position of its own last event.
-- The stream may have gone on since: the end of the stream would be another command's position.
--
-- Else this is append_events as in 0002, which says what its arguments and outcomes mean.
create or replace function append_events(
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
) returns table (command integer, outcome text, last_position bigint)
language plpgsql as $$
#variable_conflict use_column
begin
    perform pg_advisory_xact_lock(7021839001);
    return query
    with asked as (
        select r.command::integer, r.command_id, r.aggregate_id, r.expected, r.scope, r.key,
               r.fingerprint, r.status, r.body, r.version, r.location
        from unnest(command_ids, aggregate_ids, expected_versions, scopes, keys, fingerprints,
                    statuses, bodies, versions, locations)
             with ordinality as r(command_id, aggregate_id, expected, scope, key, fingerprint,
                                  status, body, version, location, command)
    ),
    given as (
        select r.command::integer, r.n, r.event_id, r.aggregate_type, r.version, r.type,
               r.schema_version, r.data::jsonb as data, r.metadata::jsonb as metadata, r.created_at
        from unnest(event_command, event_ids, event_aggregate_types, event_versions, event_types,
                    event_schemas, event_data, event_metadata, event_times)
             with ordinality as r(command, event_id, aggregate_type, version, type, schema_version,
                                  data, metadata, created_at, n)
    ),
    judged as materialized (
        select a.*,
               case
                   when own.position is not null then 'found'
                   when held.command_id is not null then 'duplicate'
                   when coalesce(tail.version, 0) <> a.expected then 'conflict'
                   else 'accepted'
               end as verdict,
               coalesce(own.position, tail.position) as known_position
        from asked a
        left join lateral (
            select k.command_id, k.position from idempotency_keys k
            where k.scope = a.scope and k.key = a.key and k.created_at > now() - key_ttl
        ) held on true
        left join lateral (
            select e.version, e.position from events e
            where e.aggregate_id = a.aggregate_id order by e.version desc limit 1
        ) tail on true
        left join lateral (
            select coalesce(
                (select max(e.position) from given g join events e on e.event_id = g.event_id
                 where g.command = a.command),
                case when held.command_id = a.command_id then held.position end
            ) as position
            where is_resent
        ) own on true
    ),
    stored as (
        insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                            data, metadata, created_at)
        select g.event_id, g.aggregate_type, j.aggregate_id, g.version, g.type, g.schema_version,
               g.data, g.metadata, g.created_at
        from given g join judged j on j.command = g.command and j.verdict = 'accepted'
        order by g.n
        returning events.aggregate_id, events.position
    ),
    reached as (
        select j.command, j.verdict,
               coalesce(max(s.position), max(j.known_position), 0) as position
        from judged j
        left join stored s on s.aggregate_id = j.aggregate_id and j.verdict = 'accepted'
        group by j.command, j.verdict
    ),
    kept as (
        insert into idempotency_keys (scope, key, fingerprint, command_id, status, body, version,
                                      location, position)
        select a.scope, a.key, a.fingerprint, a.command_id, a.status, a.body, a.version,
               a.location, r.position
        from asked a join reached r on r.command = a.command
        where r.verdict = 'accepted' and a.key is not null
        -- Only a row that has run out can stand here: others were judged duplicates.
        on conflict on constraint idempotency_keys_pkey do update
        set fingerprint = excluded.fingerprint, command_id = excluded.command_id,
            status = excluded.status, body = excluded.body, version = excluded.version,
            location = excluded.location, position = excluded.position, created_at = now()
    )
    select r.command,
           case when r.verdict in ('accepted', 'found') then 'appended' else r.verdict end,
           r.position
    from reached r;
end
$$;
