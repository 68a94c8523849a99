-- over shards
begin;
declare c cursor for select id, name from customers order by id;
fetch c;
fetch next from c;
fetch 3 from c;
fetch forward 2 from c;
move 5 in c;
fetch 2 from c;
move forward all in c;
fetch c;
close c;
commit;

-- fetch all
-- flag: ordered
begin;
declare c cursor for select id from customers where active order by id desc;
fetch all from c;
fetch all in c;
commit;

-- of one shard
-- flag: ordered
begin;
declare c cursor for select id from orders where customer_id = 2 order by id;
fetch 2 from c;
fetch all from c;
rollback;

-- scroll
-- flag: ordered
begin;
declare c scroll cursor for select id from customers order by id;
fetch last from c;
fetch first from c;
fetch absolute 5 from c;
fetch absolute -2 from c;
fetch relative -3 from c;
fetch prior from c;
fetch backward 3 from c;
fetch 0 from c;
fetch backward all from c;
fetch next from c;
commit;

-- no scroll
begin;
declare c no scroll cursor for select id from customers order by id;
fetch 2 from c;
fetch backward 1 from c;
rollback;

-- with hold
-- flag: ordered
begin;
declare c cursor with hold for select id, name from customers order by id;
fetch 2 from c;
commit;
fetch 2 from c;
fetch all from c;
close c;

-- with hold outside a block
-- flag: ordered
declare h cursor with hold for select customer_id, count(*) from orders group by customer_id order by 1;
fetch 3 from h;
select count(*) from customers;
fetch 3 from h;
close h;

-- outside a block
declare c cursor for select 1;

-- unknown cursor
begin;
fetch from nothing;
rollback;

-- closed cursor
begin;
declare c cursor for select id from customers;
close c;
fetch from c;
rollback;

-- twice the same name
begin;
declare c cursor for select 1;
declare c cursor for select 2;
rollback;

-- two cursors
-- flag: ordered
begin;
declare a cursor for select id from customers order by id;
declare b cursor for select id from orders order by customer_id, id;
fetch 2 from a;
fetch 2 from b;
fetch 2 from a;
fetch 2 from b;
close all;
commit;

-- cursors and savepoints
-- flag: ordered
begin;
declare a cursor for select id from customers order by id;
fetch 2 from a;
savepoint s;
declare b cursor for select id from customers order by id desc;
fetch 1 from b;
fetch 1 from a;
rollback to s;
fetch 1 from a;
fetch 1 from b;
rollback;

-- does not see later changes
-- flag: ordered
begin;
declare c cursor for select id, note from customers where id < 10 and id > 0 order by id;
update customers set note = 'later';
delete from loose;
fetch 2 from c;
rollback;

-- joins in a cursor
-- flag: ordered
begin;
declare c cursor for select c.id, d.title from customers c join docs d on d.owner = c.id order by c.id, d.id;
fetch 3 from c;
fetch all from c;
commit;

-- binary cursor
-- flag: ordered
begin;
declare c binary cursor for select id, name from customers order by id;
fetch 3 from c;
commit;

-- cursor with parameters
-- flag: ordered
begin;
declare c cursor for select id from customers where id > $1 order by id \bind 5;
fetch 3 from c;
rollback;

-- cursor of an unsharded table
-- flag: ordered
begin;
declare c cursor for select key from settings_kv order by key;
fetch 3 from c;
commit;

-- cursor for update
-- flag: ordered
begin;
declare c cursor for select id from customers where id = 5 for update;
fetch 1 from c;
update customers set note = 'current' where current of c;
commit;
