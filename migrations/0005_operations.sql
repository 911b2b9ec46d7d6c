-- Operations: which process does a task, and what the relay knows of its stream.

-- leases: tasks that only one process may do at a time, by the database's clock.
--   name    the task
--   holder  the process that holds the lease
--   until   when the lease expires, unless its holder renews it
--   epoch   rises with each change of holder; writes of an older epoch are refused
create table leases (
    name   text        not null,
    holder uuid        not null,
    until  timestamptz not null,
    epoch  bigint      not null,
    constraint leases_pkey primary key (name)
);

-- holder_lock: the key of the advisory lock that a process keeps in one session as long as it lives. It is
-- a shared lock, so a process that connects again gets it even while its old session still exists.
create function holder_lock(the_holder uuid) returns bigint
    language sql immutable strict
    return hashtextextended('lease holder ' || the_holder, 0);

-- is_alive: whether a process keeps its advisory lock. An exclusive lock is refused while it does; if not,
-- this one ends with the statement.
create function is_alive(the_holder uuid) returns boolean
    language sql volatile strict
    return not pg_try_advisory_xact_lock(holder_lock(the_holder));

-- hold_lease: takes or renews a lease for `ttl` and returns its epoch; null while another process holds it.
-- A lease is free if
--   - it has run out; or
--   - it ends later than any lease can that was renewed until now: the clock was set back; or
--   - its holder's session is gone. Only a process that keeps its own session believes that: two processes
--     that both have none would otherwise take the lease from each other all the time.
-- A process without the lease asks several times a second, so that only reads.
create function hold_lease(the_name text, the_holder uuid, ttl interval) returns bigint
    language plpgsql as $$
declare
    found_lease leases;
    new_epoch   bigint;
begin
    select * into found_lease from leases where name = the_name;
    if found_lease.holder <> the_holder
        and found_lease.until between clock_timestamp() and clock_timestamp() + ttl
        and (is_alive(found_lease.holder) or not is_alive(the_holder))
    then
        return null;
    end if;
    insert into leases (name, holder, until, epoch)
    values (the_name, the_holder, clock_timestamp() + ttl, 1)
    on conflict on constraint leases_pkey do update
    set until = excluded.until, holder = excluded.holder,
        epoch = leases.epoch + (leases.holder <> excluded.holder)::integer
    -- Not if another process was faster.
    where leases.holder = the_holder
        or (leases.epoch = found_lease.epoch and leases.until = found_lease.until)
    returning epoch into new_epoch;
    return new_epoch;
end;
$$;

-- relay_state: the identity of this event store, and of its stream on NATS. One row.
--   is_only        always true; the primary key on it keeps the table at one row
--   store_id       never changes. The stream carries it, so that the relay never writes into the stream of
--                  another store, and can create a stream again that is older than a restored backup
--   incarnation    how often the stream was created; the stream carries it too
--   began_at       when the stream was last created
--
-- The relay's report, once a second at most, so that every process can show it:
--   position       the stream, since it was created, held every event up to here. If it is purged, the
--                  events after that are published again
--   failing_since  when the first of its last steps failed; null while they succeed
--   failure        why the last step failed
--
-- A restored backup is the same store. A copy that runs beside the original is another store: before its
-- first start, give it a stream of its own, or a new id:
--   update relay_state set store_id = gen_random_uuid();
create table relay_state (
    is_only       boolean     not null default true,
    store_id      uuid        not null default gen_random_uuid(),
    incarnation   bigint      not null default 0,
    began_at      timestamptz not null default now(),
    position      bigint      not null default 0,
    failing_since timestamptz,
    failure       text,
    constraint relay_state_pkey primary key (is_only),
    constraint relay_state_is_only_check check (is_only)
);
insert into relay_state default values;
