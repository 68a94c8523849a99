-- a subquery that aggregates the rows around it
select (select max((select i.total from orders i where i.customer_id = o.id and i.id = 1))) from customers o;
select (select max(o.id)) from customers o;
select (select max(o.id) from statuses) from customers o;
select (select max(0) filter (where active)) from customers;
select (select sum(o.id) filter (where s.rank > 0) from statuses s where s.status = 'new') from customers o group by o.active order by 1;
select (select count(o.id) from orders i where i.customer_id = 5) from customers o;
select name, (select count(i.id) from orders i where i.customer_id = o.id) from customers o order by o.id;
select name, (select count(*) from orders i where i.customer_id = o.id) from customers o order by o.id;

-- the order of a query in FROM, when nothing sorts again
-- flag: ordered
select * from (select id, score from customers order by score nulls last, id) x limit 3;
with x as (select id, score from customers order by score nulls last, id) select * from x limit 3;
select id from (select id, score from customers order by score nulls last, id) x where score > 2 limit 3;
select id from (select id, score from customers order by score nulls last, id) x offset 2;
(select id from customers order by score, id) union all (select k from loose order by k, v);

-- a query within the frame of a window
select id, sum(score) over (order by id rows (select min(id) from customers where id > 0)::int preceding) from customers order by id;
select id, sum(score) over (partition by id order by id rows (select count(*) from customers) preceding) from customers order by id;
