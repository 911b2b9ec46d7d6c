-- Operations: which process does a task, and what the relay knows of its stream.

-- leases: tasks that only one process may do at a time, by the database's clock.
--   name    the task
--   holder  the process that holds the lease
--   until   when the lease expires
--   epoch   rises with each change of holder; writes of an older epoch are refused
create table leases (
    name   text        not null,
    holder uuid        not null,
    until  timestamptz not null,
    epoch  bigint      not null,
    constraint leases_pkey primary key (name)
);

-- relay_state: the identity of this event store, and of its stream on NATS. One row.
--   is_only      always true; the primary key on it keeps the table at one row
--   store_id     never changes. The stream carries it, so that the relay never writes into the stream of
--                another store, and can create a stream again that is older than a restored backup
--   incarnation  how often the stream was created; the stream carries it too
--   began_at     when the stream was last created
--
-- A restored backup is the same store. A copy that runs beside the original is another store: before its
-- first start, give it a stream of its own, or a new id:
--   update relay_state set store_id = gen_random_uuid();
create table relay_state (
    is_only     boolean     not null default true,
    store_id    uuid        not null default gen_random_uuid(),
    incarnation bigint      not null default 0,
    began_at    timestamptz not null default now(),
    constraint relay_state_pkey primary key (is_only),
    constraint relay_state_is_only_check check (is_only)
);
insert into relay_state default values;
