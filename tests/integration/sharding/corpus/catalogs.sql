-- tables
select table_name, table_type from information_schema.tables where table_schema = 'public' order by 1;
select column_name, data_type, is_nullable, column_default, character_maximum_length, numeric_precision from information_schema.columns where table_schema = 'public' and table_name = 'customers' order by ordinal_position;
select relname, relkind, relnatts, relhasindex from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') order by 1;
select tablename, tableowner from pg_tables where schemaname = 'public' order by 1;
select viewname, definition from pg_views where schemaname = 'public';
select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1;
select sequencename from pg_sequences where schemaname = 'public' order by 1;
select nspname from pg_namespace where nspname not like 'pg_temp%' and nspname not like 'pg_toast_temp%' and nspname !~ 'shardproxy' order by 1;
select conname, contype, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace order by conrelid::regclass::text, 1;
select tc.constraint_name, tc.constraint_type, k.column_name from information_schema.table_constraints tc join information_schema.key_column_usage k using (constraint_schema, constraint_name) where tc.table_name in ('orders', 'items') order by 1, k.ordinal_position;
select typname, typtype from pg_type where typnamespace = 'public'::regnamespace and typtype in ('e', 'd') order by 1;
select enumlabel from pg_enum order by enumsortorder;
select evtname from pg_event_trigger order by 1;
select tgname from pg_trigger where not tgisinternal order by 1;
select extname from pg_extension order by 1;
select proname from pg_proc where pronamespace = 'public'::regnamespace order by 1;
select rolname from pg_roles where rolname !~ '^pg_' order by 1;

-- psql describes
-- flag: ordered
SELECT n.nspname as "Schema", c.relname as "Name", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 's' THEN 'special' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.relkind IN ('r','p','v','m','S','f','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'customers'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
SELECT c2.relname, i.indisprimary, i.indisunique, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true) FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i WHERE c.oid = 'orders'::regclass AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname;
SELECT conname, pg_catalog.pg_get_constraintdef(r.oid, true) as condef, conrelid::regclass::text AS ontable FROM pg_catalog.pg_constraint r WHERE r.conrelid = 'items'::regclass AND r.contype = 'f' ORDER BY conname;
select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal order by 1, 2;
select relname, relispartition, relrowsecurity, relforcerowsecurity, relreplident from pg_class where relname in ('customers', 'pairs') order by 1;

-- to_regclass and casts
select 'customers'::regclass::text, to_regclass('nothing'), to_regclass('public.orders') is not null;
select pg_get_viewdef('active_customers'::regclass);
select has_table_privilege('customers', 'select'), pg_get_userbyid(relowner) from pg_class where relname = 'customers';
select pg_get_serial_sequence('tickets', 'id'), pg_get_serial_sequence('accounts', 'id');
select attname from pg_attribute where attrelid = 'pairs'::regclass and attnum > 0 order by attnum;

-- show
show server_version_num;
show transaction_isolation;
show search_path;
select name, setting from pg_settings where name in ('TimeZone', 'DateStyle', 'work_mem', 'standard_conforming_strings') order by 1;

-- not there
select * from pg_catalog.no_such_view;

-- sizes and counters of sharded tables are those of all shards
analyze customers, orders, items, events, words;
select relname, reltuples from pg_class where relname in ('customers', 'orders', 'items', 'events', 'words') order by 1;
select c.relname, c.reltuples::bigint, c.relpages > 0, c.relhassubclass from pg_catalog.pg_class as c where c.oid = 'orders'::regclass;
select pg_class.reltuples > 0 from pg_class where relname = 'orders' group by pg_class.reltuples;
select pg_total_relation_size('orders') >= pg_table_size('orders') + pg_indexes_size('orders'), pg_relation_size('orders'::regclass, 'main') > 0, pg_catalog.pg_relation_size('orders') % 8192;
select pg_relation_size('orders', 'no such fork');
select pg_total_relation_size('no_such_table');
select pg_total_relation_size(0::oid::regclass) is null, pg_relation_size(c.oid) >= 0 from pg_class c where relname = 'customers';
select pg_size_pretty(pg_relation_size('empty_t')), pg_relation_size('empty_t');
select count(*) from (select pg_indexes_size(oid) > 0 from pg_class where relname = $1) x \bind orders;
select pg_database_size(current_database()) > 1000000, pg_database_size('postgres') = pg_database_size((select oid from pg_database where datname = 'postgres'));
select relname, pg_total_relation_size(relid) > 0 from pg_stat_user_tables where relid = 'items'::regclass;
select relname, last_analyze is not null, analyze_count > 0 from pg_stat_user_tables s where relname in ('orders', 'logs', 'customers') and analyze_count > 0 order by 1;
select inhparent::regclass from pg_inherits where inhparent = 'orders'::regclass;
select c.oid::pg_catalog.regclass from pg_catalog.pg_class c, pg_catalog.pg_inherits i where c.oid = i.inhrelid and i.inhparent = 'customers'::regclass;
with pg_class as (select 1 as reltuples) select * from pg_class;
select pg_stat_user_tables.relname from pg_catalog.pg_stat_user_tables where pg_catalog.pg_stat_user_tables.relname = 'orders';
select count(*) from pg_prepared_xacts where gid = 'none of this name';
select count(*), count(datname) from pg_stat_activity a where pid = pg_backend_pid() and datname = current_database() and usename = current_user;
select jsonb_typeof(to_jsonb(pg_stat_activity)) from pg_stat_activity where pid = pg_backend_pid();
begin;
declare c cursor for select relname, reltuples from pg_class where relname in ('customers', 'orders') order by 1;
fetch 1 from c;
select count(*) from pg_stat_activity where pid = pg_backend_pid();
fetch all from c;
rollback;
set application_name = 'x' \; select reltuples from pg_class where relname = 'orders';
copy (select relname, reltuples from pg_class where relname in ('orders', 'customers') order by 1) to stdout;
copy (select pg_relation_size('orders', 'nothing')) to stdout;
begin read only;
copy (select n_live_tup >= 0 from pg_stat_user_tables where relname = 'orders') to stdout (format csv, header);
select reltuples from pg_class where relname = 'orders';
commit;

-- counted into a table, and refused beside a sharded one
-- finally: drop table if exists counted
create table counted as select relname, reltuples from pg_class where relname in ('orders', 'customers');
insert into counted select relname, reltuples from pg_class where relname = 'items' returning reltuples;
select * from counted order by 1;
select pg_table_size('orders') > 0, count(*) from orders;

-- what dashboards and monitors ask
SELECT n.nspname, c.relname, s.seq_scan IS NOT NULL, pg_catalog.pg_table_size(c.oid) > 0 FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON (n.oid = c.relnamespace) LEFT JOIN pg_catalog.pg_stat_user_tables s ON (s.relid = c.oid) LEFT JOIN pg_catalog.pg_statio_user_tables sio USING (relid) LEFT JOIN LATERAL (SELECT sum(n_live_tup) n_live_tup FROM pg_stat_all_tables WHERE relid = c.reltoastrelid) AS toast ON true WHERE c.relkind IN ('r', 'v', 'm', 'p') AND c.relpersistence <> 't' AND n.nspname = 'public' and c.relname ~ '^[co]' ORDER BY 2;
SELECT count(*) > 0, count(sa.query_start) > 0 FROM pg_catalog.pg_stat_activity sa WHERE (SELECT datname FROM pg_catalog.pg_database WHERE oid = sa.datid) = current_database();
WITH all_tables AS (SELECT * FROM (SELECT 'all'::text AS table_name, sum(coalesce(heap_blks_read, 0) + coalesce(idx_blks_read, 0)) AS from_disk, sum(coalesce(heap_blks_hit, 0)) AS from_cache FROM pg_statio_all_tables) a) SELECT table_name, from_cache > 0 FROM all_tables;
SELECT table_name, row_estimate, total_bytes > 0 FROM (SELECT c.oid, nspname AS table_schema, relname AS table_name, c.reltuples AS row_estimate, pg_total_relation_size(c.oid) AS total_bytes FROM pg_class c LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r') a WHERE table_schema = 'public' AND table_name IN ('orders', 'customers') ORDER BY 1;
SELECT relname, indexrelname, idx_scan >= 0, pg_relation_size(s.indexrelid) > 0 FROM pg_catalog.pg_stat_user_indexes s JOIN pg_catalog.pg_index i ON s.indexrelid = i.indexrelid WHERE relname = 'orders' AND 0 <> ALL (i.indkey) ORDER BY indexrelname;
SELECT relname, indexrelname FROM pg_statio_user_indexes WHERE schemaname = 'public' AND relname IN ('customers', 'logs') ORDER BY 1, 2;
