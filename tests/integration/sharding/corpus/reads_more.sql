-- views and views on views
-- finally: drop view if exists first_names, big_ones, totals cascade
create view totals as select customer_id, count(*) n, sum(total) s from orders group by customer_id;
create view big_ones as select t.customer_id, t.s, c.name from totals t join customers c on c.id = t.customer_id where t.n > 1;
create view first_names (who, len) as select name, length(name) from customers where id in (select customer_id from big_ones);
select * from totals where customer_id = 2;
select t.* from totals t where t.customer_id in (2) order by 1;
select * from big_ones where customer_id = 3;
select * from big_ones b join customers c on c.id = b.customer_id where c.id = 4;
select * from big_ones order by customer_id;
select who, len from first_names order by who collate "C", len;
select count(*), sum(n), max(s) from totals;
table big_ones order by 1;
select * from active_customers where id = $1 \bind 2;
select row_to_json(a) from active_customers a where id = 2;
with x as (select * from totals where customer_id = 2) select * from x;
select (select s from totals t where t.customer_id = c.id) from customers c where c.id = 2;
select * from totals where customer_id = 2 union all select * from totals where customer_id = 2;
select public.totals.n, public.totals.* from public.totals where public.totals.customer_id = 2;
select public.big_ones.name, count(*) from public.big_ones group by public.big_ones.name order by 1, 2;

-- a view of one shard is copied
-- only: simple
-- finally: drop view if exists totals
create view totals as select customer_id, count(*) n, sum(total) s from orders group by customer_id;
copy (select * from totals where customer_id = 2) to stdout;
copy (select * from totals order by customer_id) to stdout;

-- a view of one shard in a block
-- finally: drop view if exists totals
create view totals as select customer_id, count(*) n, sum(total) s from orders group by customer_id;
begin;
select * from totals where customer_id = 2;
update orders set total = total + 1 where customer_id = 2;
select * from totals where customer_id = 2;
select count(*) from totals;
rollback;

-- TABLE
table statuses order by 1;
table tiny order by 1;
table pairs union table pairs order by 1, 2;
table pairs intersect table pairs order by 1, 2;
(table tiny) order by s desc limit 2;
select count(*) from (table customers) x;
select count(*) from (table customers limit 3) x;
with x as (table customers) select count(*), min(id) from x;
table public.tiny order by s nulls first limit 3 offset 1;
table tiny order by -s limit 3;
table only tiny;
table tiny *;
select id from customers where id in (select s from (table tiny) y) order by id;
table settings_kv;
table nothing_there;

-- whole rows
select c from customers c where id = 5;
select row_to_json(c) from customers c order by id limit 3;
select to_jsonb(c) - 'created' from customers c where exists (select from orders o where o.customer_id = c.id + 1) order by id;
select c.id, to_jsonb(o) from customers c left join orders o on o.id = c.id order by 1, 2;
select json_agg(p order by a, b) from pairs p;
select jsonb_agg(to_jsonb(t) order by s) from tiny t;
select count(c) from customers c;
select count(c.*) from customers c;
select count(o) from customers c left join orders o on o.id = c.id;
select row_to_json(x) from (select id, name from customers) x order by x.id limit 3;
select (p).a, (p).b from pairs p order by 1, 2;
select (p).v from pairs p join tiny t on t.s = p.v order by 1;
select p is null, p is not null from pairs p where a = 1 order by b;
select to_json(p.*) from pairs p where a = 1 order by b;
select row_to_json(c.*)::text from countries c order by code;
select jsonb_object_agg(a, to_jsonb(p) order by b) from pairs p where a is not null;

-- time
select count(*) from customers where created < now();
select count(*) from orders where placed < localtimestamp and placed > '2000-01-01';
select id from customers where born < current_date - 3 order by id limit 4;
select c.id from customers c join orders o on o.id = c.id where c.created < now() and o.placed < current_timestamp order by 1;
select count(*) from events where at <= transaction_timestamp() or at is null;
select country, count(*), max(balance) from customers where created <= statement_timestamp() group by country order by 1;
select distinct country from customers where created < now() + interval '1 day' order by 1;
with x as (select id from customers where created < now()) select count(*), max(id) from x;
select id from customers c where exists (select from orders o where o.customer_id = c.id and o.placed < now()) order by id;
select id from customers where created < now() order by name collate "C", id limit 5 offset 2;
select count(*) filter (where created < now()) from customers;
select now() = now() from customers where id < 4;
select max(id) from customers having max(created) < now();
select id from customers where created < now() and born < current_date for update;
select id from customers where created < $1 and created < now() order by id \bind "2030-01-01 00:00:00+00";
select count(*) from customers where age(created) > interval '1 second';
select count(*) from customers where created < 'now';
select count(*) from customers where created < 'today'::timestamptz;

-- one time in a block
begin;
select count(*) from customers where created < now();
select count(*) from customers c join orders o on o.id = c.id where c.created < now();
select count(*), count(distinct t) from (select now() t from customers) x;
rollback;

-- one time in a block that reads
begin read only;
select count(*) from customers where created < now();
select count(*) from customers c join orders o on o.id = c.id where c.created < now();
rollback;

-- spread
select stddev(balance), stddev_pop(balance), stddev_samp(balance), variance(balance), var_pop(balance), var_samp(balance) from customers;
select stddev(score), stddev_pop(score), variance(score), var_pop(score) from customers;
select country, stddev(balance), var_pop(score), count(*) from customers group by country order by country;
select customer_id % 3 m, stddev(total), variance(total), stddev_pop(total) from orders group by 1 order by 1;
select product, stddev(price), variance(qty), stddev_pop(price * qty) from items group by product order by product;
select stddev(id), variance(id), stddev_pop(id), var_pop(id) from customers where id in (5, 6);
select stddev(id), variance(id), stddev_pop(id), var_pop(id) from orders where id < 0;
select variance(s), stddev_pop(s) from tiny;
select stddev(n), var_pop(n) from empty_t;
select stddev(balance) filter (where active), stddev(distinct balance) from customers;
select k % 2, stddev(k), var_pop(k) from loose group by 1 order by 1;
select stddev(key), variance(key), stddev_pop(key) from amounts;
select stddev(balance * 1000000), stddev(balance / 7), variance(balance / 1000000) from customers;
select sqrt(variance(balance)) > 1, round(stddev(balance), 2) from customers;
select country from customers group by country having stddev(balance) > 10 order by country;

-- functions in FROM, LATERAL
select c.id, x.n from customers c cross join lateral generate_series(1, 2) x(n) where c.id < 4 order by 1, 2;
select c.id, t.tag from customers c, unnest(c.tags) t(tag) order by 1, 2;
select c.id, t.tag, t.ord from customers c, unnest(c.tags) with ordinality t(tag, ord) order by 1, 3;
select c.id, x.total from customers c left join lateral (select total from orders o where o.customer_id = c.id order by total desc nulls last, o.id limit 1) x on true order by 1;
select c.id, x.total from customers c left join lateral (select total from orders o where o.id = c.id order by total desc nulls last limit 1) x on true order by 1;
select n.code, x.cnt from countries n cross join lateral (select count(*) cnt from customers c where c.country = n.code) x order by 1;
select g, (select count(*) from customers c where c.id = g) from generate_series(1, 4) g order by 1;
select e.id, k.key, k.value from events e, jsonb_each_text(e.payload) k order by e.tenant collate "C", 1, 2;
select g.n, c.name from generate_series(1, 5) g(n) left join customers c on c.id = g.n order by 1;
select x.* from (values (1), (2)) v(i) cross join lateral (select id from customers c where c.id > v.i order by id limit 2) x order by 1;
select regexp_split_to_table(name, '') from customers where id = 2;
select id, generate_series(1, 2) from customers where id < 3 order by 1, 2;

-- grouping sets
select country, active, count(*), sum(balance) from customers group by grouping sets ((country), (active), ()) order by 1, 2, 3;
select country, active, count(*), grouping(country, active) from customers group by rollup (country, active) order by 1, 2, 4;
select country, active, avg(balance), grouping(country) g from customers group by cube (country, active) order by 1, 2, 4;
select customer_id, status, count(*) from orders group by grouping sets ((customer_id), (customer_id, status)) order by 1, 2, 3;
select country c, count(*) from customers group by rollup (c) having count(*) > 2 order by 1;
select coalesce(country, 'all'), max(score) from customers group by rollup (country) order by 1, 2;
select country, active, count(*) from customers group by country, rollup (active) order by 1, 2, 3;
select length(name) l, count(*) from customers group by cube (length(name)) order by 1, 2;

-- DISTINCT ON, percentiles and other aggregates
select distinct on (country) country, id, name from customers order by country, id;
select distinct on (customer_id) customer_id, id, total from orders order by customer_id, total desc nulls last, id;
select distinct on (active, country) active, country, balance from customers order by active, country, balance desc, id;
select distinct on (country) id from customers order by country, balance, id limit 3;
select percentile_cont(0.5) within group (order by balance), percentile_disc(0.5) within group (order by balance) from customers;
select country, percentile_cont(array[0.25, 0.75]) within group (order by score) from customers group by country order by 1;
select mode() within group (order by country) from customers where id < 20;
select rank(5) within group (order by score), dense_rank(5) within group (order by score) from customers;
select corr(score, balance), regr_count(score, balance), covar_pop(score, balance) from customers where id < 1;
select bit_and(score), bit_or(score), bit_xor(score) from customers;
select string_agg(name, ',' order by id) from customers;
select string_agg(distinct country, ',' order by country) from customers;
select array_agg(id order by id) from customers where score > 3;
select array_agg(distinct score order by score desc) from customers;
select count(distinct (country, active)) from customers;
select count(distinct country), count(distinct active), count(*) from customers;
select sum(distinct score), avg(distinct score) from customers;
select min(name collate "C"), max(name collate "C") from customers;
select every(active), bool_or(active), bool_and(score > 0) from customers;

-- locks
select id from customers where active order by id for update;
select c.id, o.id from customers c join orders o on o.customer_id = c.id order by 1, 2 for update of c;
select c.id, n.name from customers c join countries n on n.code = c.country order by 1 for share of c;
select id from customers where country in (select code from countries where region = 'Europe') order by id for update;
select id from customers for update nowait;
select count(*) from customers for update;
select id from customers order by score, id limit 3 for update;
select distinct country from customers for update;

-- arguments of LIMIT
select id from customers order by id limit (select 3);
select id from customers order by id limit 2 + 1;
select id from customers order by id limit null;
select id from customers order by id limit all offset 38;
select id from customers order by id limit -1;
select id from customers order by id offset -1;
select id from customers order by id limit 2.6;
select id from customers order by id limit '3';
select id from customers order by id limit 0;
select id from customers order by id fetch first 2 rows with ties;
select country from customers order by country nulls last fetch first 3 rows with ties;
select id from customers order by id limit $1 \bind null;
select id from customers order by id limit $1 offset $2 \bind 3 2;

-- errors that only some rows have
select 1 / (id - 5) from customers;
select 1 / (id - 5) from customers order by id limit 1;
select name::int from customers;
select sum(1 / (score - 3)) from customers;
select id from customers where 10 / (id - 7) > 0;
select (select o.id from orders o where o.customer_id = c.id) from customers c;
select sqrt(-id) from customers;
select balance::smallint * 100 from customers;
select id from customers where nothing = 1;
select id from customers group by name;
select name, count(*) from customers;
select nofunc(id) from customers;
select id from customers order by 5;
select id from customers union select name from customers;
select id, id from customers limit 'x';
select * from customers c where c.id = o.id;
select * from customers, orders where id = 3;
select id from customers where id = 'abc';
select id from customers where id = '99999999999999999999';
select sum(name) from customers;
select * from customers where id = (1, 2);

-- WITH that writes on one shard
with x as (update customers set note = 'cte' where id = 5 returning id, note) select * from x;

-- WITH that writes, keys by parameters
with x as (update customers set note = $2 where id = $1 returning id, note) select x.*, c.note from x join customers c on c.id = x.id where c.id = $1 \bind 5 new;

-- WITH that moves rows
with gone as (delete from items where customer_id = 3 returning *) select count(*), sum(price) from gone;

-- WITH that inserts
with x as (insert into customers (id, name) values (777, 'cte') returning *) select id, name, balance from x;

-- WITH that writes twice
with a as (update customers set note = 'a' where id = 5 returning id), b as (update orders set note = 'b' where customer_id = 5 returning id) select (select count(*) from a), (select count(*) from b);

-- WITH that writes to other tables
with x as (insert into settings_kv values ('cte', 'x') returning key) select * from x;

-- WITH that writes on several shards
with x as (update customers set note = 'cte' where id in (5, 6, 7) returning id, note) select * from x order by 1;

-- WITH that reads what another part returns
with a as (update customers set note = 'a' where id = 5 returning id), b as (delete from items using a where customer_id = 5 and a.id = customer_id returning line) select count(*) from b;

-- DISTINCT values of all shards
select count(distinct country), count(distinct id), count(*), sum(balance) from customers;
select active, count(distinct country), count(distinct score), avg(score), stddev(score), min(name collate "C") from customers group by active order by 1;
select customer_id % 2, count(distinct customer_id), count(distinct status) from orders group by 1 order by 1;
select count(distinct status) from orders where total < 0;
select status, count(distinct total), sum(distinct id) from orders group by status order by 1;
select count(distinct note) filter (where id > 3), count(distinct note) from customers;
select count(distinct lower(name)) from customers;
select count(distinct born), count(distinct (born > '1990-01-01')) from customers;
select country from customers group by country having count(distinct score) > 2 order by count(distinct score) desc, 1;
select count(distinct o.status), count(distinct c.country) from customers c join orders o on o.customer_id = c.id;
select count(distinct 1), count(distinct null::int) from customers;
select count(distinct tags), count(distinct created) from customers;
