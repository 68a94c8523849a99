-- order by
select id, name from customers order by name collate "C", id;
select id, name from customers order by name, id;
select id, name from customers order by name desc, id desc;
select id, score from customers order by score, id;
select id, score from customers order by score nulls first, id;
select id, score from customers order by score desc, id;
select id, score from customers order by score desc nulls last, id;
select id, rate from customers order by rate, id;
select id, balance from customers order by balance, id;
select id, balance from customers order by balance desc, id limit 7;
select id, born from customers order by born desc nulls last, id;
select id, created from customers order by created, id;
select id, active from customers order by active, id desc;
select id from customers order by active desc, score nulls first, id;
select id, country from customers order by country, id;
select id, tags from customers order by tags, id;
select id from docs order by id;
select id from docs order by title desc, id;
select h, n from blobs order by h;
select c, n from codes order by c;
select w from words order by w;
select w from words order by w collate "C" desc;
select day from daily order by day desc limit 3;
select at from moments order by at desc limit 3;
select at from stamps order by at limit 3;
select key from amounts order by key;
select s from tiny order by s desc;
select b, n from flags order by b, n;
select b, n from flags order by b desc nulls last, n desc;
select ip from typed order by ip;
select r from typed order by r desc, id;
select m, id from typed order by m, id;
select m, id from typed order by m desc nulls last, id;
select xs, id from typed order by xs desc, id;
select p from typed order by p;

-- order by what is not selected
select name from customers order by id;
select name from customers order by balance, id;
select name from customers order by score desc nulls last, id limit 10;
select name as id2 from customers order by id desc limit 4;
select 1 from customers order by id limit 3;
select id from customers order by length(name), id;
select id from customers order by balance * -1, id limit 6;
select name from customers order by lower(name), id;
select upper(name) as name from customers order by name, id;
select upper(name) as name from customers order by customers.name, id;
select id from customers order by case when score is null then 0 else score end desc, id;
select id from customers order by random() * 0, id;

-- order by numbers
select id, name from customers order by 2, 1;
select name, id from customers order by 1 desc, 2 limit 5;
select id % 5, id from customers order by 1, 2;
select id * 2 from customers order by 1;
select * from pairs order by 3 nulls first, 1, 2;

-- order by number that does not exist
select id from customers order by 3;

-- order by using
select id from customers order by id using >;

-- limit and offset
select id from customers order by id limit 5;
select id from customers order by id limit 5 offset 3;
select id from customers order by id offset 30;
select id from customers order by id offset 3 limit 5;
select id from customers order by id limit 0;
select id from customers order by id limit all;
select id from customers order by id limit null offset null;
select id from customers order by id offset 10000;
select id from customers order by id limit 10000 offset 35;
select id from customers order by id fetch first 3 rows only;
select id from customers order by id offset 2 rows fetch next 3 rows only;
select id from customers order by id fetch first row only;
select score from customers where score is not null order by score fetch first 3 rows with ties;
select id from customers order by id limit 2 + 3;
select id from customers order by id limit (select 3);
select id from customers order by id limit (select count(*) from statuses);
select id from customers order by id limit 3.4;
select id from customers order by id limit '3';
select id from customers order by id limit $1 \bind 3;
select id from customers order by id limit $1 offset $2 \bind 3 4;
select id from customers order by id offset $1 limit $2 \bind 3 4;
select id from customers order by id limit $1 \bind null;
select id from customers order by id limit $1::int \bind 0;
select id from customers where id > $2 order by id limit $1 offset $3 \bind 3 4 2;
select id from customers order by id offset $1 \bind 36;
select count(*) from (select 1 from customers limit 7) x;
select count(*) from (select 1 from customers offset 7) x;

-- negative limit
select id from customers order by id limit -1;

-- negative offset
select id from customers order by id offset -1;

-- negative limit as a parameter
select id from customers order by id limit $1 \bind -1;

-- limit with a column
select id from customers order by id limit id;

-- distinct
select distinct country from customers order by country;
select distinct country from customers order by country nulls first;
select distinct country from customers;
select distinct country, active from customers order by 1, 2;
select distinct score from customers order by score desc nulls last limit 3;
select distinct score from customers order by score limit 2 offset 1;
select distinct score + 1 from customers order by 1;
select distinct customer_id from orders order by 1;
select distinct customer_id, status from orders order by 1, 2;
select distinct id from customers order by id limit 3;
select distinct length(name) from customers order by length(name);
select distinct 1 from customers;
select distinct null from customers;
select distinct v from loose order by v;
select distinct k, v from loose order by k, v;
select distinct * from loose order by 1, 2;
select distinct tags from customers order by 1;
select distinct rate from customers order by rate;
select distinct b from flags order by b;
select count(*) from (select distinct v from loose) x;

-- distinct with order by something else
select distinct name from customers order by id;

-- distinct on
select distinct on (country) country, id from customers order by country, id;
select distinct on (country) country, id, balance from customers order by country, balance desc, id;
select distinct on (customer_id) customer_id, id, total from orders order by customer_id, id;
select distinct on (customer_id) customer_id, id from orders order by customer_id desc, id desc limit 4;
select distinct on (v) v, k from loose order by v, k;
select distinct on (active, score) active, score, id from customers order by active, score, id;
select distinct on (2) id % 3, country from customers order by 2, 1;

-- set operations
select id from customers where id < 4 union select id from customers where id < 6 order by id;
select id from customers where id < 4 union all select id from customers where id < 6 order by id;
select id from customers intersect select customer_id from orders order by 1;
select id from customers except select customer_id from orders order by 1;
select customer_id from orders intersect all select customer_id from items order by 1;
select customer_id from items except all select customer_id from orders order by 1;
select v from loose union select v from loose order by v;
select v from loose union all select v from loose order by v;
select country from customers union select code from countries order by 1;
select code from countries except select country from customers order by 1;
select id from customers where id = 5 union select id from customers where id = 6 order by 1;
select id from customers where id = 5 union all select customer_id from orders where customer_id = 5;
select id, 'c' from customers where id = 5 union all select id, 'o' from orders where customer_id = 5 order by 2, 1;
(select id from customers order by id limit 2) union all (select id from customers order by id desc limit 2) order by id;
(select id from customers order by id limit 3) intersect (select id from customers where id > 0) order by 1;
select 1 union select 1 union all select 1;
select id from customers union select null order by id nulls first limit 3;
select name from customers union select title from docs order by 1 limit 12;
select id::int from customers where id < 100 union select a from pairs union select k from loose order by 1 limit 20 offset 2;
select count(*) from (select id from customers union select customer_id from orders) x;
select id from customers where id < 3 union values (1::bigint), (77) order by 1;
select * from (select id from customers where id < 5 union select id from orders where id < 5) u order by id desc;
select key from settings_kv union all select name from customers order by 1 limit 9;
select score from customers union select n from tickets order by 1 desc nulls last limit 5;
select id from customers where id in (1, 2) union select id from customers where id in (2, 3) order by id;
table pairs union table pairs order by 1, 2;

-- set operation with unequal columns
select id, name from customers union select id from orders;
