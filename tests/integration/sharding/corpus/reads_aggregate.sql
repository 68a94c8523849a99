-- aggregates over all
select count(*) from customers;
select count(*), count(score), count(distinct score) from customers;
select sum(score), avg(score), min(score), max(score) from customers;
select sum(balance), avg(balance), min(balance), max(balance) from customers;
select sum(rate), avg(rate), min(rate), max(rate) from customers;
select sum(id), avg(id), min(id), max(id) from customers;
select min(name), max(name) from customers;
select min(name collate "C"), max(name collate "C") from customers;
select min(born), max(created), min(active::int) from customers;
select min(country), max(country) from customers;
select bool_and(active), bool_or(active), every(active) from customers;
select bit_and(score), bit_or(score) from customers;
select stddev(score), variance(score), stddev_pop(score), var_pop(score), stddev_samp(balance), var_samp(balance) from customers;
select count(*) filter (where active), sum(balance) filter (where not active), avg(score) filter (where false) from customers;
select sum(distinct score), avg(distinct score), count(distinct country) from customers;
select string_agg(name, ',' order by id) from customers;
select string_agg(distinct country, ',' order by country) from customers;
select array_agg(id order by id) from customers where id < 10;
select array_agg(score order by score desc nulls last, id) from customers;
select json_agg(id order by id) from customers where id < 5;
select jsonb_agg(jsonb_build_object('id', id, 'n', name) order by id) from customers where id < 5;
select jsonb_object_agg(id, name order by id) from customers where id < 6;
select percentile_cont(0.5) within group (order by balance), percentile_disc(0.25) within group (order by score) from customers;
select percentile_cont(array[0.1, 0.9]) within group (order by score) from customers;
select mode() within group (order by score) from customers;
select rank(3) within group (order by score), dense_rank(3) within group (order by score) from customers;
select round(corr(score, id)::numeric, 9), round(covar_pop(score, id)::numeric, 9), round(regr_slope(score, id)::numeric, 9), regr_count(score, id) from customers where id < 30;
select count(*) + 1, sum(score) * 2 - count(*), max(id) - min(id) from customers;
select coalesce(sum(score), 0), case when count(*) > 10 then 'many' else 'few' end from customers;
select round(avg(balance), 2), sum(balance)::float8 from customers;
select sum(s), avg(s), min(s), max(s) from tiny;
select sum(key), avg(key), max(key), min(key) from amounts;
select min(day), max(day), count(day) from daily;
select min(at), max(at), max(at) - min(at) from stamps;
select sum(at - '2024-01-01') from moments;
select max(h), min(h) from blobs;
select min(c), max(c) from codes;
select min(ip), max(ip) from typed;
select min(m), max(m) from typed;
select range_agg(r order by id) from typed;
select sum(n::float4) from tiny;
select sum(n::bigint), sum(n::numeric(5, 1)) from tiny;
select max(xs), min(xs) from typed;
select count((id, name)) from customers;
select count(null), count(1), count(*) from customers;
select sum(1), sum(1.0), avg(2) from customers;
select any_value(1) from customers;

-- no rows
select count(*), sum(n), avg(n), min(v), max(v), bool_and(n > 0), array_agg(id), string_agg(v, ','), stddev(n) from empty_t;
select count(*) from empty_t where id = 5;
select sum(n) from empty_t where id in (1, 2, 3);
select v, count(*) from empty_t group by v;
select max(id) from empty_t having count(*) = 0;
select 1 from empty_t having count(*) > 0;
select count(*) from customers where false;
select sum(balance), count(*) from customers where id = 424242;
select sum(balance), count(*) from customers where id in (424242, 424243, 424244);
select count(*), max(id) from customers where name = 'nobody';
select count(*) from customers where id = any ('{}');
select count(*) from customers where id is null;
select sum(id) from customers limit 0;
select count(*) from customers offset 1;
select count(*) from customers limit 5;
select distinct count(*) from empty_t;
select * from empty_t;
select id from empty_t order by id limit 3;
select exists (select from empty_t), exists (select from customers);
select coalesce(max(id), -1) + 1 from empty_t;

-- group by
select country, count(*) from customers group by country order by country;
select country, count(*) from customers group by country;
select country, count(*) from customers group by country order by country nulls first;
select country, count(*) from customers group by 1 order by 2 desc, 1;
select country as c, sum(balance) as s from customers group by c order by s desc, c;
select active, country, count(*), avg(score) from customers group by active, country order by 1, 2;
select customer_id, count(*), sum(total) from orders group by customer_id order by customer_id;
select customer_id, sum(total) from orders group by customer_id order by sum(total) desc nulls last, customer_id limit 5;
select customer_id, sum(total) from orders group by customer_id having count(*) > 3 order by customer_id;
select status, sum(total), avg(total), min(total), max(total), count(distinct customer_id) from orders group by status order by status;
select status, avg(total) from orders group by status having avg(total) > 100 order by avg(total);
select status from orders group by status order by count(*), status;
select status from orders group by status having status is not null order by status desc;
select count(*) from orders group by status order by 1;
select count(*) from orders group by customer_id order by 1 desc limit 3;
select sum(total) from orders group by status order by status nulls first;
select date_trunc('month', placed) as month, count(*), sum(total) from orders group by 1 order by 1;
select extract(month from placed) m, status, count(*) from orders group by m, status order by m, status;
select id % 3 as r, count(*), array_agg(id order by id) from customers group by id % 3 order by r;
select id % 3, max(name collate "C") from customers group by 1 order by 1;
select length(name) l, count(*) from customers group by length(name) having count(*) > 1 order by l;
select lower(kind), count(*) from events group by lower(kind) order by 1;
select kind, count(*) from events group by kind order by kind collate "C" nulls first;
select tenant, count(*), max(id), min(at) from events group by tenant order by tenant collate "C";
select tenant, kind, count(*) from events where tenant = 'acme' group by tenant, kind order by kind;
select v, count(*), count(k), sum(k::bigint) from loose group by v order by v nulls first;
select k from loose group by k having count(*) > 2 order by k;
select score, string_agg(name, '|' order by id) from customers group by score order by score;
select score, percentile_cont(0.5) within group (order by balance) from customers group by score order by score;
select country, count(distinct score), sum(distinct score) from customers group by country order by country;
select id, name, count(*) from customers group by id order by id;
select c.id, c.name, count(*) from customers c join orders o on o.customer_id = c.id group by c.id order by c.id;
select c.id, c.name, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.id, c.name order by c.id;
select country, active from customers group by country, active order by 1, 2;
select distinct count(*) from orders group by customer_id order by 1;
select distinct sum(qty) from items group by product order by 1;
select rate, count(*) from customers group by rate order by rate;
select tags, count(*) from customers group by tags order by tags;
select m, count(*) from typed group by m order by m;
select country, count(*) filter (where active) from customers group by country having bool_or(active) order by country;
select max(c) from (select count(*) c from orders group by customer_id) x;
select avg(c) from (select count(*) c from orders group by status) x;
select status, count(*) * 100 / sum(count(*)) over () from orders group by status order by status;
select 'x' as x, count(*) from customers group by x;
select count(*) from customers group by ();
select active, sum(balance) from customers group by active having sum(balance) > (select avg(balance) from customers) order by active;
select country, count(*) from customers group by country order by count(*) desc, country limit 2 offset 1;
select customer_id, max(placed) from orders where customer_id in (2, 3, 4, 5) group by customer_id order by 1;
select country, count(*) from customers where id = $1 or id = $2 group by country order by 1 \bind 3 4;
select score + $1, count(*) from customers group by score + $1 order by 1 \bind 10;
select count(*) from customers where balance > $1::numeric \bind 500;
select sum(balance * $1::numeric) from customers \bind 1.5;

-- ungrouped column
select country, name from customers group by country;

-- aggregate in where
select id from customers where count(*) > 1;

-- nested aggregate
select sum(count(*)) from customers;

-- having without group
select count(*) from customers having count(*) > 5;
select sum(score) from customers having sum(score) < 0;

-- sum overflows
select sum(id::bigint * 9000000000000) from customers;

-- grouping sets
select country, active, count(*) from customers group by grouping sets ((country), (active), ()) order by 1, 2, 3;
select country, active, count(*), grouping(country, active) from customers group by rollup (country, active) order by 4, 1, 2;
select country, active, sum(balance) from customers group by cube (country, active) order by 1, 2, 3;
select status, customer_id % 2, count(*) from orders group by grouping sets ((1, 2), (1)) order by 1, 2, 3;
select country, count(*) from customers group by rollup (country) having count(*) > 3 order by 2, 1;

-- windows
select id, row_number() over (order by id) from customers order by id;
select id, rank() over (order by score nulls first), dense_rank() over (order by score nulls first) from customers order by id;
select id, sum(balance) over (order by id) from customers order by id;
select id, country, row_number() over (partition by country order by id) from customers order by id;
select customer_id, id, row_number() over (partition by customer_id order by id) from orders order by 1, 2;
select customer_id, id, sum(total) over (partition by customer_id order by id rows between 1 preceding and current row) from orders order by 1, 2;
select customer_id, id, lag(total) over w, lead(total, 2, 0) over w from orders window w as (partition by customer_id order by id) order by 1, 2;
select id, ntile(4) over (order by id), cume_dist() over (order by id), percent_rank() over (order by id) from customers order by id;
select id, first_value(name) over (order by id), last_value(name) over (order by id), nth_value(name, 3) over (order by id) from customers order by id;
select id, count(*) over () from customers order by id limit 3;
select count(*) over () from customers limit 1;
select id, avg(balance) over (partition by active order by id range between unbounded preceding and current row) from customers order by id;
select * from (select customer_id, id, row_number() over (partition by customer_id order by total desc nulls last, id) r from orders) x where r = 1 order by 1;
select * from (select id, row_number() over (order by id) r from customers) x where r between 3 and 5 order by r;
select customer_id, sum(sum(total)) over (order by customer_id) from orders group by customer_id order by 1;
select distinct count(*) over (partition by country) from customers order by 1;
select id, sum(score) filter (where active) over (order by id) from customers order by id;
select id, sum(balance) over (order by born groups between 1 preceding and current row) from customers where born is not null order by id;
select id, row_number() over (order by id) from orders where customer_id = 2 order by id;
select id, max(placed) over (order by placed range between interval '10 days' preceding and current row) from orders order by customer_id, id;
