-- Which event store this is, and which life of its stream on NATS is the current one.
--
-- store_id      never changes; the stream carries it, so that the stream of another store is never
--               written to, and that of this store, as it was before a restore, can be made anew
-- incarnation   how often the stream was made; the stream carries that, too
-- began_at      when it was last made
--
-- A restored backup is the same store. A copy that lives beside the original is another one: give it
-- its own stream, or a new id (update relay_state set store_id = gen_random_uuid()), before it starts.
create table relay_state (
    is_only     boolean     not null default true,
    store_id    uuid        not null default gen_random_uuid(),
    incarnation bigint      not null default 0,
    began_at    timestamptz not null default now(),
    constraint relay_state_pkey primary key (is_only),
    constraint relay_state_is_only_check check (is_only)
);
insert into relay_state default values;
