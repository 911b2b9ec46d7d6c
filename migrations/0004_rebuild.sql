-- Functions of a rebuild of the read model beside the live one: `orders replay --full`.
--
-- The new tables are in the schema read_model_next and have the same names as the live ones, also for
-- their indexes and constraints. So the projector's statements fill them unchanged (with that schema
-- first in the search path), and the switch only moves them. They are created from the catalogue,
-- because a second copy of the definitions could become different from the first.

-- The schema of the live tables. The checkpoint tells: it exists only there.
create function rebuild_live_schema() returns name language sql stable as $$
    select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = 'projection_checkpoint'::regclass
$$;

-- Creates the new tables, empty, with keys (filling them needs keys), storage options and grants, but
-- without the other indexes. Drops what an interrupted rebuild has left.
create function rebuild_start() returns void language plpgsql as $$
declare
    live name := rebuild_live_schema();
    tab  name;
    part record;
begin
    -- The switch cannot carry over views on the live tables, so refuse them before the work begins.
    for part in
        select distinct r.ev_class::regclass as view
        from pg_depend d join pg_rewrite r on r.oid = d.objid
        where d.classid = 'pg_rewrite'::regclass
            and d.refobjid in ('order_views'::regclass, 'order_items'::regclass,
                               'projection_parked'::regclass)
    loop
        raise exception
            'view % depends on the read model: drop it before a rebuild and create it again afterwards',
            part.view using errcode = 'dependent_objects_still_exist';
    end loop;
    drop schema if exists read_model_next cascade;
    create schema read_model_next;
    foreach tab in array array['order_views', 'order_items', 'projection_parked'] loop
        execute format('create table read_model_next.%1$I (like %2$I.%1$I including all excluding indexes)',
                       tab, live);
        for part in
            select unnest(c.reloptions) as option
            from pg_class c where c.oid = format('%I.%I', live, tab)::regclass
        loop
            execute format('alter table read_model_next.%I set (%s)', tab, part.option);
        end loop;
        for part in
            select k.conname, pg_get_constraintdef(k.oid) as definition
            from pg_constraint k
            where k.conrelid = format('%I.%I', live, tab)::regclass and k.contype in ('p', 'u')
        loop
            execute format('alter table read_model_next.%I add constraint %I %s',
                           tab, part.conname, part.definition);
        end loop;
        for part in
            select a.privilege_type, case when a.grantee = 0 then 'public'
                                          else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
            from pg_class c, aclexplode(c.relacl) a
            where c.oid = format('%I.%I', live, tab)::regclass and a.grantee <> c.relowner
        loop
            execute format('grant %s on read_model_next.%I to %s',
                           part.privilege_type, tab, part.grantee);
        end loop;
    end loop;
end
$$;

-- Creates the indexes that the live tables have besides their keys.
create function rebuild_index() returns void language plpgsql as $$
declare
    live name := rebuild_live_schema();
    part record;
begin
    for part in
        select t.relname, pg_get_indexdef(x.indexrelid) as definition
        from pg_index x join pg_class t on t.oid = x.indrelid
        where t.relnamespace = (select n.oid from pg_namespace n where n.nspname = live)
            and t.relname in ('order_views', 'order_items', 'projection_parked')
            and not exists (select from pg_constraint k where k.conindid = x.indexrelid)
    loop
        execute regexp_replace(part.definition, ' ON \S+ USING ',
                               format(' ON read_model_next.%I USING ', part.relname));
    end loop;
    analyze read_model_next.order_views, read_model_next.order_items;
end
$$;

-- Compares live and rebuilt rows in one snapshot and returns how many orders differ. Leaves out orders
-- whose live or rebuilt rows have events after up_to: the other side does not include those yet.
create function rebuild_compare(up_to bigint) returns bigint language plpgsql as $$
declare
    live    name := rebuild_live_schema();
    differs bigint;
begin
    drop table if exists read_model_next.differences;
    execute format($query$
        create table read_model_next.differences as
        select d.id from (
            select coalesce(l.id, n.id) as id
            from %1$I.order_views l full join read_model_next.order_views n on n.id = l.id
            where row(l.*) is distinct from row(n.*)
            union
            select coalesce(l.order_id, n.order_id)
            from %1$I.order_items l full join read_model_next.order_items n
                on n.order_id = l.order_id and n.item_id = l.item_id
            where row(l.*) is distinct from row(n.*)
            union
            select coalesce(l.order_id, n.order_id)
            from %1$I.projection_parked l full join read_model_next.projection_parked n
                on n.order_id = l.order_id
            where coalesce(l.position, n.position) <= $1
                and (l.version, l.reason) is distinct from (n.version, n.reason)
        ) d
        where not exists (
            select from %1$I.order_views v where v.id = d.id and v.position > $1
        ) and not exists (
            select from read_model_next.order_views v where v.id = d.id and v.position > $1
        )
    $query$, live) using up_to;
    select count(*) into differs from read_model_next.differences;
    return differs;
end
$$;

-- Returns what differs in the first orders that rebuild_compare found: the name of a field, or the id of
-- a line, with its live and its rebuilt value. updated_slot follows from updated_at and is left out.
create function rebuild_examples(at_most integer)
returns table (order_id uuid, field text, live text, rebuilt text) language plpgsql as $$
#variable_conflict use_column
begin
    return query execute format($query$
        with documents as (
            select d.id,
                (select to_jsonb(v) - 'updated_slot'
                 from %1$I.order_views v where v.id = d.id) as live,
                (select to_jsonb(v) - 'updated_slot'
                 from read_model_next.order_views v where v.id = d.id) as rebuilt,
                (select jsonb_object_agg(i.item_id, to_jsonb(i) - 'order_id')
                 from %1$I.order_items i where i.order_id = d.id) as live_items,
                (select jsonb_object_agg(i.item_id, to_jsonb(i) - 'order_id')
                 from read_model_next.order_items i where i.order_id = d.id) as rebuilt_items,
                (select jsonb_build_object('parked', p.reason)
                 from %1$I.projection_parked p where p.order_id = d.id) as live_parked,
                (select jsonb_build_object('parked', p.reason)
                 from read_model_next.projection_parked p where p.order_id = d.id) as rebuilt_parked
            from (select id from read_model_next.differences order by id limit $1) d
        )
        select d.id, coalesce(l.key, n.key), l.value #>> '{}', n.value #>> '{}'
        from documents d
        cross join lateral (
            select coalesce(d.live, '{}') || coalesce(d.live_items, '{}')
                || coalesce(d.live_parked, '{}') as live,
                coalesce(d.rebuilt, '{}') || coalesce(d.rebuilt_items, '{}')
                || coalesce(d.rebuilt_parked, '{}') as rebuilt
        ) whole
        cross join lateral (
            select l.key, l.value, n.key, n.value
            from jsonb_each(whole.live) l full join jsonb_each(whole.rebuilt) n on n.key = l.key
            where l.value is distinct from n.value
        ) as pair(live_key, live_value, new_key, new_value)
        cross join lateral (select pair.live_key as key, pair.live_value as value) l
        cross join lateral (select pair.new_key as key, pair.new_value as value) n
        order by 1, 2
    $query$, rebuild_live_schema()) using at_most;
end
$$;

-- Replaces the live tables by the rebuilt ones. The caller's transaction has locked the checkpoint, so
-- nothing is written meanwhile; readers wait. The tables are locked in the order in which all queries
-- name them (views, items, parked), so this cannot deadlock with a query.
create function rebuild_switch() returns void language plpgsql as $$
declare
    live name := rebuild_live_schema();
    tab  name;
begin
    foreach tab in array array['order_views', 'order_items', 'projection_parked'] loop
        execute format('lock table %I.%I in access exclusive mode', live, tab);
    end loop;
    foreach tab in array array['order_views', 'order_items', 'projection_parked'] loop
        execute format('drop table %I.%I', live, tab);
        execute format('alter table read_model_next.%I set schema %I', tab, live);
    end loop;
    drop schema read_model_next cascade;
end
$$;
