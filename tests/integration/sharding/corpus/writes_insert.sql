-- one row
insert into customers (id, name) values (100, 'new');

-- one row with a tag
insert into customers (id, name, balance, created) values (101, 'x', 5, '2024-01-01') returning id, name, balance, active, created;
select id, name, balance, active from customers where id = 101;

-- rows over shards
insert into customers (id, name, created) values (101, 'a', '2024-01-01'), (102, 'b', '2024-01-01'), (103, 'c', '2024-01-01'), (104, 'd', '2024-01-01'), (105, 'e', '2024-01-01') returning id, name;
select id, name from customers where id > 100 and id < 200 order by id;

-- flag: ordered returning keeps the order of the rows
insert into pairs values (109, 'z', 1), (101, 'y', 2), (105, 'x', 3), (102, 'w', 4), (108, 'v', 5) returning a, b, v * 2 as double;

-- without a column list
insert into pairs values (50, 'q', 7);
insert into pairs values (51, 'q', 7), (52, 'r', null), (53, '', 9);
insert into pairs values (54, 'only two');

-- columns in another order
insert into pairs (v, b, a) values (1, 'k', 60), (2, 'l', 61), (3, 'm', 62) returning *;

-- key missing
insert into pairs (b, v) values ('x', 1);

-- key missing where NULL is allowed
insert into loose (v) values ('no key');
insert into loose values (null, 'null key'), (7, 'key');
insert into loose values (default, 'default key');
insert into loose default values;
select count(*) from loose where k is null;

-- more values than columns
insert into pairs values (1, 'w', 3, 4);

-- unknown column
insert into pairs (a, b, nothing) values (1, 'w', 3);

-- duplicates fail whole
insert into customers (id, name) values (200, 'ok'), (5, 'taken'), (201, 'ok too');
select count(*) from customers where id in (200, 201);

-- duplicate of one row
insert into customers (id, name) values (5, 'taken');

-- not null on one shard only
insert into customers (id, name) values (200, 'ok'), (201, null), (202, 'ok');
select count(*) from customers where id in (200, 201, 202);

-- bad value in one of the rows
insert into customers (id, name, balance) values (200, 'ok', 1), (201, 'x', 'no number'), (202, 'ok', 2);

-- bad value found at run time
insert into customers (id, name, balance) values (200, 'ok', 1), (201, 'x', 1 / 0), (202, 'ok', 2);

-- key of many forms
insert into loose values (1 + 1, 'sum'), ('8', 'text'), (9.0, 'decimal'), (9.6, 'rounded'), (-3, 'negative'), (+4, 'plus'), (cast('11' as int), 'cast'), ('12'::int, 'cast'), (abs(-13), 'function'), ((select 14), 'query'), (case when true then 15 end, 'case'), (null, 'null');
select k from loose where v in ('sum', 'text', 'decimal', 'rounded', 'negative', 'plus', 'cast', 'function', 'query', 'case') order by k;

-- key too large
insert into loose values (3000000000, 'too large');

-- text key cut or not
insert into words values ('a word that is much too long for it', 1);
insert into words values ('spaces              cut                 ', 1);
insert into codes values ('ab', 1), ('ab', 2);

-- bpchar keys ignore spaces
insert into codes values ('zz  ', 1);
select n, length(c) from codes where c = 'zz';

-- numeric keys of other scales
insert into amounts values (100.500, 'a'), (100.501, 'b');
insert into amounts values (200.5, 'a'), (200, 'b'), (1e2, 'c'), (0, 'd'), (-0.00, 'e');

-- numeric keys
insert into amounts values (200.5, 'a'), (200, 'b'), (1e2, 'c'), ('300.456', 'e') returning key;

-- dates as keys
insert into daily values ('2030-01-01', 1), (date '2030-01-02', 2), ('2030-01-02'::date + 1, 3), ('-infinity', 4), ('Jan 5, 2030', 5) returning day;
insert into daily values ('2030-02-30', 1);

-- dates that depend on settings
set datestyle = 'ISO, DMY';
insert into daily values ('03/04/2031', 1);
select day from daily where day = '2031-04-03';
set timezone = 'Asia/Tokyo';
insert into stamps values ('2031-01-01 00:00', 1), ('2031-01-01 00:00+00', 2);
select n from stamps where at = '2030-12-31 15:00+00';
insert into moments values ('2031-01-01 00:00+05', 1), ('2031-01-01', 2);

-- moments
insert into moments values ('2031-01-01 12:00:00.1234567', 1), ('2031-01-01 12:00:00.5', 2), ('epoch', 3) returning at;

-- uuid keys
insert into docs (id, title) values ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'upper'), ('{b0eebc999c0b4ef8bb6d6bb9bd380a11}', 'braces') returning id, title;
select title from docs where id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
delete from docs where id = '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}';

-- uuid made by the server
insert into docs (id, title) values (gen_random_uuid(), 'r1'), (gen_random_uuid(), 'r2'), (gen_random_uuid(), 'r3') returning title;
select count(*), count(distinct id) from docs where title in ('r1', 'r2', 'r3');
delete from docs where title in ('r1', 'r2', 'r3');

-- blobs and booleans
insert into blobs values ('\xdeadbeef', 1), (E'\\xdeadbeed', 2), ('abc', 3), (decode('00ff', 'hex'), 4) returning h;
insert into flags values (true, 1), ('no', 2), (null, 3), (1 = 1, 4) returning b;
insert into tiny values (100, 1), ('101', 2), (40000, 3);

-- text with everything in it
insert into events (tenant, id, kind, payload) values ('te''nant', 1, 'k', '{"a": "'' \" ; --"}'), (E'new\nline', 2, $$dollar ' quotes$$, null), ('ünï', 900, U&'\0041', '[]') returning tenant, kind, payload;
select kind from events where tenant = 'te''nant';
select kind from events where tenant = E'new\nline';

-- parameters
insert into customers (id, name, balance, active, score, born, created, tags) values ($1, $2, $3, $4, $5, $6, '2024-01-01', $7) returning id, name, balance, active, score, born, tags \bind 300 param 12.50 f 3 2000-01-01 '{a,"b c",NULL}';
select id, name from customers where id = $1 \bind 300;

-- parameters of many rows
insert into pairs (a, b, v) values ($1, $2, $3), ($4, $5, $6), ($1 + 1, $2, $7) returning * \bind 70 x 1 80 y null 3;

-- parameters of key types
insert into events (tenant, id) values ($1, $2) \bind 'tenant x' 1;
insert into docs (id, title) values ($1, $2) \bind a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 t;
insert into amounts values ($1, $2) \bind 77.777 t;
insert into daily values ($1, $2) \bind 2033-03-03 1;
insert into moments values ($1, $2) \bind '2033-03-03 01:02:03.5' 1;
insert into stamps values ($1, $2) \bind '2033-03-03 01:02:03.5+00' 1;
insert into blobs values ($1, $2) \bind '\x00ff00' 1;
insert into codes values ($1, $2) \bind 'yy' 1;
insert into words values ($1, $2) \bind 'a word' 1;
insert into tiny values ($1, $2) \bind 99 1;
insert into flags values ($1, $2) \bind true 77;
insert into loose values ($1, $2) \bind null x;
insert into loose values ($1, $2) \bind 77 null;

-- parameter of the wrong type
insert into loose values ($1, 'x') \bind abc;

-- defaults
insert into customers (id, name, balance, active) values (400, 'd', default, default), (401, 'e', 5, default), (402, 'f', default, false);
select id, balance, active, created is not null from customers where id in (400, 401, 402) order by id;
select count(distinct created) from customers where id in (400, 401, 402);
delete from customers where id in (400, 401, 402);

-- now is one value
insert into stamps values (now(), 1);
insert into tickets (id, title) values (5001, 'a'), (5002, 'b'), (5003, 'c'), (5004, 'd');
select count(distinct created) from tickets where id > 5000;
delete from tickets where id > 5000;
delete from stamps where at > '2025-01-01';

-- serial
insert into tickets (title, created) values ('s', '2024-01-01') returning id, n;
select currval('tickets_id_seq'), lastval();
insert into tickets (title, created) values ('s1', '2024-01-01'), ('s2', '2024-01-01'), ('s3', '2024-01-01') returning id, title;
select currval(pg_get_serial_sequence('tickets', 'id')), lastval();
insert into tickets default values;
select nextval('tickets_id_seq');
select count(*), count(distinct id) from tickets;
delete from tickets where title in ('s', 's1', 's2', 's3', 'untitled');

-- serial given
insert into tickets (id, title, created) values (7000, 'given', '2024-01-01'), (default, 'made', '2024-01-01') returning id;
select setval('tickets_id_seq', 9000);
insert into tickets (title, created) values ('later', '2024-01-01') returning id;
select lastval();

-- currval before nextval
select currval('tickets_id_seq');

-- lastval before nextval
select lastval();

-- identity
insert into accounts (owner) values ('x') returning *;
insert into accounts (owner) values ('y'), ('z'), ('w') returning id, owner;
insert into accounts (id, owner) values (5000, 'own'), (default, 'made') returning *;
insert into accounts values (5001, 'own');
insert into accounts values (default, 'made');
select count(*), count(distinct id) from accounts;

-- identity always
insert into strict_ids (v) values ('a'), ('b') returning *;
insert into strict_ids (id, v) overriding system value values (700, 'c') returning *;
insert into strict_ids (id, v) overriding user value values (701, 'd') returning *;
insert into strict_ids (id, v) values (default, 'e') returning *;
insert into strict_ids (id, v) values (702, 'f');

-- generated columns
insert into typed (id, m, p) values (100, 'happy', 5), (101, 'sad', 6), (102, null, null) returning id, gen, m, p;
insert into typed (id, gen) values (103, 5);

-- enum and domain errors
insert into typed (id, m) values (100, 'angry');

-- domain check
insert into typed (id, p) values (100, 1), (101, 0), (102, 2);

-- foreign keys
insert into orders (id, customer_id, status) values (500, 2, 'new'), (501, 3, 'paid');
insert into orders (id, customer_id, status) values (502, 2, 'no such status');

-- foreign key to a missing customer
insert into orders (id, customer_id) values (500, 2), (501, 424242);

-- foreign key to a missing country
insert into customers (id, name, country) values (500, 'x', 'XX');

-- order and items in one transaction
begin;
insert into customers (id, name, created) values (600, 'new', '2024-01-01');
insert into orders (id, customer_id, total) values (1, 600, 10), (2, 600, 20);
insert into items values (600, 1, 1, 'bolt', 1, 1), (600, 2, 1, 'nut', 1, 1);
commit;
select count(*) from items where customer_id = 600;

-- on conflict do nothing
insert into pairs values (1, 'x', 100), (2, 'new', 100), (3, 'x', 100) on conflict do nothing;
insert into pairs values (1, 'x', 100), (2, 'newer', 100) on conflict (a, b) do nothing returning *;
insert into pairs values (1, 'x', 100) on conflict on constraint pairs_pkey do nothing;

-- on conflict do update
insert into pairs values (1, 'x', 100), (2, 'new', 100), (3, 'x', 100) on conflict (a, b) do update set v = excluded.v + 1 returning *;
insert into pairs as p values (4, 'x', 1), (5, 'y', 2) on conflict (a, b) do update set v = coalesce(p.v, 0) + excluded.v where p.a = 4 returning p.*;
insert into customers (id, name) values (5, 'five'), (6, 'six') on conflict (id) do update set name = excluded.name, balance = customers.balance + 1;
select id, name, balance from customers where id in (5, 6) order by id;

-- on conflict changes the key
insert into pairs values (1, 'x', 100) on conflict (a, b) do update set a = 99;

-- on conflict twice the same row
insert into pairs values (1, 'x', 1), (1, 'x', 2) on conflict (a, b) do update set v = excluded.v;

-- on conflict without a matching constraint
insert into pairs values (1, 'x', 1) on conflict (a) do nothing;

-- on conflict with a parameter
insert into pairs values ($1, $2, $3) on conflict (a, b) do update set v = $3 + 1 returning v \bind 1 x 50;

-- on conflict with a subquery
insert into pairs values (1, 'x', 1), (2, 'x', 1) on conflict (a, b) do update set v = (select max(rank) from statuses) returning *;

-- on conflict with a subquery over shards
insert into pairs values (1, 'x', 1), (2, 'x', 1) on conflict (a, b) do update set v = (select count(*) from customers) returning *;

-- insert select of the same keys
insert into loose (k, v) select customer_id, status from orders where customer_id in (2, 3);
insert into loose select * from loose where k = 2;
insert into items (customer_id, order_id, line, product) select customer_id, id, 90, 'gift' from orders;
select count(*) from items where line = 90;

-- insert select to other keys
insert into loose (k, v) select id, name from customers where id < 20 returning k, v;
insert into pairs select id, 'c', score from customers where id between 0 and 30;
insert into pairs (a, b) select customer_id, status from orders where status is not null on conflict do nothing;
insert into loose select k + 1, v from loose where k < 100;

-- insert select with order and limit
insert into loose (k, v) select id, name from customers order by id desc limit 3 returning *;

-- insert select of aggregates
insert into loose (k, v) select count(*), status from orders group by status;
insert into loose select max(a), 'max' from pairs;

-- insert select joins
insert into loose select c.id, o.status from customers c join orders o on o.customer_id = c.id where c.id < 10;
insert into loose select a.id, b.name from customers a join customers b on b.id = a.id + 1 where a.id < 10;

-- insert select from reference and unsharded tables
insert into loose select rank, label from statuses;
insert into loose select length(value), key from settings_kv;
insert into settings_kv select 'c' || id, name from customers;
insert into logs (msg) select name from customers where id = 5 returning id > 0;
insert into settings_kv select code, name from countries;
insert into tickets (title, n, created) select name, score, '2024-01-01' from customers where id < 8 order by id returning title;
insert into tickets (title, created) select 't', '2024-01-01' from generate_series(1, 10);
select count(*), count(distinct id) from tickets;

-- insert select from functions and values
insert into loose select g, 'g' from generate_series(1, 20) g;
insert into loose select * from (values (1, 'a'), (null, 'b'), (3, 'c')) v;
insert into loose select 5, 'five' where exists (select from customers where id = 5);
insert into loose select 5, 'five' where not exists (select from customers where id = 5);
insert into loose table loose;

-- insert with a CTE
with x as (select id, name from customers where id < 5) insert into loose select id, name from x returning k;
with x as (insert into loose values (1, 'cte') returning k) select k from x;
with gone as (delete from loose where k = 3 returning *) insert into loose select k + 100, v from gone;

-- insert select that fails
insert into pairs select id, 'x', 1 from customers where id < 100;

-- insert select with unequal columns
insert into pairs select id from customers where id < 100;

-- reference tables
insert into countries values ('XX', 'Nowhere', null), ('YY', 'Elsewhere', 'Asia') returning code, name;
select count(*) from countries;
insert into customers (id, name, country, created) values (700, 'x', 'XX', '2024-01-01'), (701, 'y', 'YY', '2024-01-01'), (702, 'z', 'XX', '2024-01-01');
select c.id, k.name from customers c join countries k on k.code = c.country where c.id > 699 and c.id < 800 order by 1;

-- reference table on conflict
insert into countries values ('DE', 'Deutschland', 'Europe'), ('ZZ', 'Z', null) on conflict (code) do update set name = excluded.name returning code, name;

-- reference duplicate
insert into countries values ('ZZ', 'Z', null), ('DE', 'again', null);

-- reference table from shards
insert into statuses select 'c' || id, name, id from customers where id between 1 and 5 returning status;

-- reference with a volatile default
insert into countries values ('R1', md5(random()::text), null);
select count(distinct name) from countries where code = 'R1';
delete from countries where code = 'R1';

-- unsharded tables
insert into settings_kv values ('a', 'b'), ('c', 'd') returning *;
insert into logs (msg) values ('x'), ('y') returning id;
select currval('logs_id_seq'), lastval();
insert into settings_kv values ('key 1', 'taken');

-- multi statement text
insert into pairs values (90, 'a', 1) \; insert into pairs values (91, 'a', 1) \; select count(*) from pairs where b = 'a';

-- multi statement text that fails
insert into pairs values (90, 'a', 1) \; insert into pairs values (91, 'a', 1) \; select 1 / 0;
select count(*) from pairs where b = 'a';

-- insert into a view
insert into active_customers (id, name) values (800, 'through a view');
select active from customers where id = 800;
