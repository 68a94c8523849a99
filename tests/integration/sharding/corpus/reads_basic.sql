-- point
select id, name, balance from customers where id = 5;

-- key missing
select * from customers where id = 424242;

-- star
select * from customers order by id;

-- star unordered
select * from customers;

-- negative, zero and large keys
select id, name from customers where id = -7;
select id, name from customers where id = 0;
select id, name from customers where id = 9007199254740993;
select id from customers where id = 1000000007;

-- key is a decimal
select id, name from customers where id = 5.0;
select id, name from customers where id = 5.5;
select id from customers where id = 5::numeric;
select id from customers where id = 5::smallint;
select id from customers where id = '5';
select id from customers where id::text = '5';
select id from customers where id::text = '05';
select id from customers where id = '5'::int;
select id from customers where id = 5::float8;
select id from customers where id = -(-5);
select id from customers where id = 2 + 3;
select id from customers where id + 0 = 5;
select id from customers where 5 = id;
select id from customers where id = +5;
select id from customers where id = '-7'::bigint;
select id from customers where id = - 7;

-- key out of range
select id from customers where id = 99999999999999999999;
select id from loose where k = 3000000000;

-- key out of range of its type
select count(*) from loose where k = 3000000000;
select n from tiny where s = 100000;
select n from tiny where s = -8;
select n from tiny where s = '-8';
select n from tiny where s = '100000';

-- key in a list
select id, name from customers where id in (1, 2, 3, 4, 5) order by id;
select id from customers where id in (5);
select id from customers where id in (5, 5, 5);
select id from customers where id in (5, null) order by id;
select id from customers where id not in (1, 2, 3) order by id;
select id from customers where id not in (1, null);
select id from customers where id = any ('{1,2,33}') order by id;
select id from customers where id = any (array[1, 2, 33]) order by id;
select id from customers where id = any (array[1, null, 33]) order by id;
select id from customers where id = any ('{}');
select id from customers where id = any (null);
select id from customers where id <> all (array[1, 2, 3]) order by id;
select id from customers where id in (values (1), (2), (7)) order by id;
select id from customers where id in (1, 2.0, '3') order by id;

-- key in OR
select id from customers where id = 1 or id = 7 order by id;
select id from customers where id = 1 or name = 'Ada' order by id;
select id from customers where id = 1 or id is null;
select id from customers where (id = 1 and active) or (id = 2 and not active) or id = 3 order by id;
select id from customers where not id = 1 order by id;
select id from customers where id = 1 and id = 2;
select id from customers where id in (1, 2, 3) and id in (3, 4) order by id;
select id from customers where not (id <> 4);
select id from customers where id = 4 is true;
select id from customers where (id = 4) = true;
select id from customers where id is not distinct from 4;
select id from customers where id between 3 and 6 order by id;
select id from customers where id between symmetric 6 and 3 order by id;
select id from customers where id > 30 and id < 1000 order by id;
select id from customers where id >= 34 order by id desc;
select id from customers where case when id = 4 then true else id = 5 end order by id;
select id from customers where coalesce(id, 0) = 5;
select id from customers where (id, name) in ((1, 'Ada'), (2, 'bob'), (2, 'zed'), (3, 'Eve')) order by id;
select id from customers where row (id, 1) = row (5, 1);
select id from customers where (id, 5) = (5, id);
select id from customers where false and id = 5;
select id from customers where true or id = 5 order by id;
select id from customers where null order by id;
select id from customers where id = null;

-- NULL keys
select * from loose where k is null order by v;
select count(*) from loose where k is null;
select count(*) from loose where k is not null;
select k, count(*) from loose group by k order by k;
select k, count(*) from loose group by k order by k nulls first;
select k, count(*) from loose group by k order by k desc;
select count(*), count(k), count(distinct k) from loose;
select v from loose where k is not distinct from null order by v;
select v from loose where k = 2 order by v;
select v from loose where k = 2 or k is null order by v;
select v from loose where k <> 2 order by v;
select v from loose where k is distinct from 2 order by v;
select n from flags where b order by n;
select n from flags where not b order by n;
select n from flags where b is null order by n;
select n from flags where b = true order by n;
select n from flags where b = 't' order by n;
select n from flags where b is not true order by n;
select b, count(*), sum(n) from flags group by b order by b nulls first;

-- composite keys
select * from pairs where a = 3 and b = 'x';
select * from pairs where b = 'x' and a = 3;
select * from pairs where a = 3 order by b;
select * from pairs where b = 'Z' order by a;
select * from pairs where (a, b) = (3, '');
select * from pairs where (a, b) in ((1, 'x'), (2, 'y'), (9, 'x')) order by a;
select * from pairs where (b, a) in (('x', 1), ('y', 2)) order by a;
select * from pairs where a in (1, 2) and b in ('x', 'y') order by a, b;
select * from pairs where a = 1 and b = any ('{x,Z}') order by b;
select * from pairs where a = 1 and b like 'x%';
select * from pairs where a = 1 or b = 'x' order by a, b;
select sum(v), max(b) from pairs where a = 4 and b = 'y';

-- text keys
select id, kind from events where tenant = 'acme' order by id;
select id, kind from events where tenant = 'ACME' order by id;
select id, kind from events where tenant = '' order by id;
select id, kind from events where tenant = 'ünï' order by id;
select id, kind from events where tenant = U&'\00fcn\00ef' order by id;
select id, kind from events where tenant = E'ac\x6de' order by id;
select id, kind from events where tenant = $$acme$$ order by id;
select id, kind from events where tenant = 'ac' 
 'me' order by id;
select id, kind from events where tenant = 'acme'::varchar order by id;
select id, kind from events where tenant = 'acme'::char(10) order by id;
select id, kind from events where tenant = 'acme '::char(10) order by id;
select id, kind from events where tenant = 'acme'::name order by id;
select id, kind from events where tenant = cast('acme' as text) order by id;
select id, kind from events where tenant = 'acmex'::varchar(4) order by id;
select id, kind from events where lower(tenant) = 'acme' order by tenant, id;
select id, kind from events where tenant ilike 'acme' order by tenant, id;
select id, kind from events where tenant collate "C" = 'acme' order by id;
select id, kind from events where tenant = 'ac' || 'me' order by id;
select id, kind from events where tenant = concat('ac', 'me') order by id;
select id, kind from events where tenant = repeat('a', 40) order by id;
select id, kind from events where tenant in ('acme', 'ACME', 'nobody') order by tenant collate "C", id;
select id, kind from events where tenant = quote_literal('acme');

-- uuid keys
select title from docs where id = (select '00000000-0000-0000-0000-000000000000'::uuid);
select count(*) from docs where id = '00000000-0000-0000-0000-000000000000';
select count(*) from docs where id = '{00000000-0000-0000-0000-000000000000}'::uuid;
select count(*) from docs where id = 'not a uuid';

-- uuid in many spellings
select a.title from docs a where a.id = (select min(id::text)::uuid from docs);
select count(*) from docs a join docs b on a.ref = b.id;
select a.title, b.title from docs a left join docs b on a.ref = b.id order by a.id;

-- other keys
select * from amounts where key = 6.25;
select * from amounts where key = 6.250;
select * from amounts where key = '6.25';
select * from amounts where key = -30;
select * from amounts where key = -30.000;
select * from amounts where key in (-30, 6.25, 13.5) order by key;
select * from amounts where key = 6.25::float8;
select n from daily where day = '2024-02-10';
select n from daily where day = date '2024-02-10';
select n from daily where day = 'Feb 10, 2024';
select n from daily where day = '2024-02-10 00:00'::timestamp;
select n from daily where day = '2024-02-10 12:00'::timestamp;
select n from daily where day = 'infinity';
select n from daily where day = date '2024-02-09' + 1;
select n from daily where day >= '2024-02-25' order by day;
select n from moments where at = '2024-02-05 01:02:03.000004';
select n from moments where at = timestamp '2024-02-05 01:02:03.000004';
select n from moments where at = '2024-02-05T01:02:03.000004';
select n from stamps where at = '2024-02-05 23:30:00.000004+00';
select n from stamps where at = '2024-02-06 00:30:00.000004+01';
select n from stamps where at = timestamptz '2024-02-05 23:30:00.000004Z';
select n from blobs where h = '\x0025';
select n from blobs where h = '\x';
select n from blobs where h = E'\\x0025';
select n from blobs where h = decode('0025', 'hex');
select n from blobs where h = '\000\045';
select n from codes where c = 'c3';
select n from codes where c = 'c3  ';
select n from codes where c = 'c3'::text;
select n from codes where c = 'c3  '::text;
select n from codes where c = '';
select n from codes where c = 'abcd';
select n from codes where c = 'abcde';
select n from words where w = 'word 3';
select n from words where w = 'word 3 ';
select n from words where w = 'Wörter ';
select n from words where w = '';
select n from tiny where s = 3;

-- keys depend on settings
set timezone = 'America/New_York';
select n from stamps where at = '2024-02-05 18:30:00.000004';
select at, n from stamps where at = '2024-02-05 23:30:00.000004+00';
set datestyle = 'SQL, DMY';
select n from daily where day = '10/02/2024';
select day from daily where n = 1 order by day;
select n from moments where at = '05/02/2024 01:02:03.000004';
set datestyle = 'SQL, MDY';
select n from daily where day = '02/10/2024';
set standard_conforming_strings = off;
select n from words where w = 'wor\144 3';
reset standard_conforming_strings;
reset timezone;
reset datestyle;
select n from stamps where at = '2024-02-05 23:30:00.000004+00';

-- parameters as keys
select id, name from customers where id = $1 \bind 5;
select id, name from customers where id = $1 \bind null;
select id, name from customers where id = $1 or id = $2 order by id \bind 5 7;
select id, name from customers where id in ($1, $2, $3) order by id \bind 1 7 9;
select id, name from customers where id = any ($1) order by id \bind '{1,7,9,NULL}';
select id, name from customers where id = any ($1::bigint[]) order by id \bind '{1,7,9}';
select id, name from customers where id = any ($1::int[]) order by id \bind '{1,7,9}';
select id, name from customers where id = $1::int \bind 5;
select id, name from customers where id = $1::numeric \bind 5.0;
select id, name from customers where id = $1::text::bigint \bind 5;
select id, name from customers where id = $1::smallint + 1 \bind 5;
select id, name from customers where $2::text is null or id = $1 order by id \bind 5 x;
select id, name from customers where id = $2 and name <> $1 \bind nobody 5;
select id, kind from events where tenant = $1 order by id \bind acme;
select id, kind from events where tenant = $1 order by id \bind '';
select id, kind from events where tenant = $1::varchar order by id \bind acme;
select id, kind from events where tenant = $1 and id > $2 order by id \bind acme 10;
select count(*) from docs where id = $1 \bind 00000000-0000-0000-0000-000000000000;
select k, v from loose where k = $1 order by v \bind 2;
select k, v from loose where k is not distinct from $1 order by v \bind null;
select * from pairs where a = $1 and b = $2 \bind 3 x;
select * from pairs where b = $1 and a = $2 \bind x 3;
select * from pairs where (a, b) = ($1, $2) \bind 3 x;
select * from amounts where key = $1 \bind 6.25;
select * from amounts where key = $1 \bind 6.2500;
select n from daily where day = $1 \bind 2024-02-10;
select n from moments where at = $1 \bind '2024-02-05 01:02:03.000004';
select n from stamps where at = $1 \bind '2024-02-05 23:30:00.000004+00';
select n from blobs where h = $1 \bind '\x0025';
select n from codes where c = $1 \bind 'c3';
select n from words where w = $1 \bind 'word 3';
select n from tiny where s = $1 \bind -8;
select n from flags where b = $1 order by n \bind t;
select name from customers where id = $1 and balance > $2 and active = $3 \bind 5 -100.5 t;
select id from customers where id = $1 \bind abc;

-- parameter that is no number
select id from customers where id = $1 \bind 5x;

-- missing column and table
select nothing from customers where id = 5;

-- missing table
select * from no_such_table where id = 5;

-- syntax error
select from where;

-- wrong types
select * from customers where id = 'five';

-- comparison without operator
select * from customers where id = true;

-- division by zero on one shard
select 1 / (id - 5) from customers where id = 5;

-- division by zero in a scatter
select 1 / (id - 5) from customers;

-- aliases and quoting
select "c"."id" as "ID", c."name" "the name", c.id + 1 from customers as c where c.id = 5;
select public.customers.id from public.customers where public.customers.id = 5;
select customers.* from customers where customers.id = 5;
select (c).id, (c).name from customers c where c.id = 5;
select x.a, x.b from customers as x(a, b) where x.a = 5;
select id as order_id from customers where id = 5 order by order_id;
select 'a' as a, 1, null, id from customers where id = 5;
select c from pairs c where a = 3 and b = 'x';
select id /* comment; with 'quote */ from customers -- where id = 6
 where id = 5;
SELECT ID FROM CUSTOMERS WHERE ID=5;
table statuses;
table tiny;
select tableoid::regclass::text from customers where id = 5;
select id from only customers where id = 5;

-- reference and unsharded tables
select * from countries order by code;
select code, name from countries where region = 'Europe' order by code;
select count(*) from statuses;
select * from settings_kv order by key;
select count(*), max(msg) from logs;
select value from settings_kv where key = 'key 3';
select c.name, s.value from countries c cross join settings_kv s where c.code = 'DE' order by 2, s.key;
select 1;
select;
select current_database() is not null, current_user, version() is not null;
select generate_series(1, 5) order by 1;
values (1, 'a'), (2, 'b');
values (3), (1), (2) order by 1;
