-- append_commands (0012) for what is by far its most frequent batch while few clients ask at once: one
-- command of one event, without a key, sent for the first time. Scalars instead of arrays, and nothing
-- else to look at: three fifths of the time in PostgreSQL.
--
-- Answers the position of the event, or -1 where its stream is not at the expected version.
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
    -- Before the insert, which then sees what whoever held the lock has committed.
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
