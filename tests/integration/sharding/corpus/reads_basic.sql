-- point
select id, name, balance from customers where id = 5;

-- key missing
select * from customers where id = 424242;
