-- in
copy pairs from stdin;
301	x	1
302	y	\N
303		3
304	tab\tand\\	4
\.
select * from pairs where a > 300 order by a;

-- in with columns
copy customers (name, id, balance) from stdin;
copied 1	901	1.50
copied 2	902	2.50
copied 3	903	3
copied 4	904	-4
\.
select id, name, balance, active from customers where id > 900 and id < 1000 order by id;

-- in csv
copy pairs (a, b, v) from stdin with (format csv);
401,"x, ""quoted""",1
402,"two
lines",2
403,,3
404,"",4
\.

-- in csv that is whole
copy pairs (a, b, v) from stdin with (format csv, header, delimiter ';', quote '''', null 'NIL', force_not_null (b));
a;b;v
401;'x; y';1
402;z;NIL
403;;3
\.
select * from pairs where a > 400 order by a;

-- null keys
copy loose from stdin;
\N	null
1	one
2	\N
\.
select k, v from loose where v in ('null', 'one') order by k;

-- with a custom null
copy loose from stdin (null 'none');
none	x
5	none
\.

-- serial
copy tickets (title, n) from stdin;
t1	1
t2	2
t3	3
\.
select count(*), count(distinct id) from tickets;
delete from tickets where title in ('t1', 't2', 't3');

-- no rows
copy pairs from stdin;
\.

-- into a reference table
copy countries from stdin;
Z1	Zone 1	\N
Z2	Zone 2	Asia
\.
select count(*) from countries;

-- into an unsharded table
copy settings_kv from stdin (format csv);
copied,value
\.

-- duplicates
copy pairs from stdin;
501	x	1
1	x	1
502	x	1
\.
select count(*) from pairs where a > 500;

-- bad data
copy pairs from stdin;
501	x	1
502	x	not a number
503	x	1
\.
select count(*) from pairs where a > 500;

-- bad key
copy pairs from stdin;
501	x	1
five	x	1
\.

-- too few columns
copy pairs from stdin;
501	x	1
502	x
\.

-- too many columns
copy pairs from stdin;
501	x	1	9
\.

-- unknown column
copy pairs (a, nothing) from stdin;
1	x
\.

-- missing table
copy no_such_table from stdin;
1
\.

-- in a block
begin;
copy pairs from stdin;
601	x	1
602	y	2
\.
select count(*) from pairs where a > 600;
rollback;
select count(*) from pairs where a > 600;

-- with where
copy pairs from stdin where v > 1;
601	x	1
602	y	2
603	y	3
\.
select a from pairs where a > 600 order by a;

-- text keys
copy events (tenant, id, kind, payload) from stdin;
new tenant	1	k	{"a": "b"}
ünï	901	\N	\N
\\backslash	1	k	\N
new\nline	1	k	\N
\.
select kind from events where tenant = '\backslash';
select kind from events where tenant = E'new\nline';

-- other keys
copy amounts from stdin;
1000.50	x
1000.555	y
\.
copy docs (id, title) from stdin;
A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11	upper
\.
copy daily from stdin;
2040-01-01	1
\.
copy blobs from stdin;
\\x00ff	77
\.
copy codes from stdin;
ab	77
\.
copy flags from stdin;
t	77
f	78
\N	79
\.
select title from docs where id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';

-- out
copy customers (id, name, balance) to stdout;
copy pairs to stdout;
copy loose to stdout with (format csv, null 'NIL');
copy countries to stdout;
copy settings_kv to stdout (format csv, header);
copy empty_t to stdout;

-- out of queries
copy (select id, name from customers order by id) to stdout;
copy (select id, name from customers where id = 5) to stdout;
copy (select country, count(*) from customers group by country order by country) to stdout (format csv);
copy (select c.id, d.title from customers c join docs d on d.owner = c.id order by c.id, d.id) to stdout;
copy (select id from customers order by id limit 3) to stdout csv header;
copy (values (1, 'a'), (2, 'b')) to stdout;
copy (select * from pairs order by a, b) to stdout (delimiter '|', null '-');

-- out with a header
copy pairs to stdout (format csv, header);

-- out with returning
copy (delete from loose where k = 2 returning v) to stdout;

-- out binary
-- flag: ordered
copy (select id, name from customers where id = 5) to stdout (format binary);
copy (select id, name from customers order by id limit 3) to stdout (format binary);

-- out of a missing table
copy no_such_table to stdout;

-- out in a block
begin;
insert into pairs values (700, 'x', 1), (701, 'x', 1);
copy (select count(*) from pairs) to stdout;
copy pairs (a) to stdout;
rollback;

-- to a view
copy active_customers to stdout;

-- out of a view through a query
copy (select * from active_customers) to stdout;
