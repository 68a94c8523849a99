insert into s values (100, 'a'), (101, 'b''c'), (102, E'x\ny'), (103, default) returning k, w, c
insert into s (w, k) values ('z', 200) returning *
insert into s values (210, (select max(w) from s), 1), (211, upper('q'), 2) returning *
insert into s (k, w) values (1, 'dup'), (300, 'new') on conflict (k) do update set w = excluded.w || s.w returning k, w
insert into s (k, w) values (1, 'dup'), (301, 'new') on conflict do nothing
insert into s (k, w) values (1, 'dup'), (302, 'new')
insert into s (w, k) select v, k + 1000 from t where id <= 20
insert into s (k, w) select k + 2000, w from s where k < 10
insert into s select k, v from t where false returning *
insert into t (k, id, v) select k, 1000, w from s
with x as (select k, count(*) as c from t group by k) insert into s (k, c) select k + 3000, c from x
insert into u (k, v) select k, v from t where id < 5 order by id
insert into n values (1.005, '\x00ff', '{"a": "b''\\"}'), (2, null, null), ('3.1', E'\\x01', '[]') returning *
insert into d (day) values ('2024-01-01'), ('2024-01-02'), (date '2024-01-03')
insert into d (day, x) values ('1/5/2024', 77), ('today', 78)
insert into t (id, v) values (5, 'no key')
update t set v = v || '!' where k = 3 returning id, v
update t set v = 'all', n = n * 2
update t set v = s.w from s where s.k = t.k and s.k > 5
update t set v = s.w from s where s.w = 'w' || t.id
update t set k = k + 100 where id < 10 returning id, k
update t set k = 3 where k = 3 and id = 3
update s set k = k + 1 where k = 29
update s set k = 5 where k = 6
update t set v = (select max(w) from s)
update t set v = r.name from r where r.id = t.id
update u set v = t.v from t where t.k = u.k and t.id < 20
delete from t where k in (1, 2, 3) returning id
delete from t using r where r.id = t.id
delete from t where v in (select 'v' || s.k from s)
delete from t where not exists (select from s where s.k = t.k and s.w > 'w2')
delete from s
merge into s using t on s.k = t.k and t.id < 20 when matched then update set w = t.v when not matched then insert values (t.k + 5000, t.v)
merge into s using t on s.k = t.k and t.id > 40 when matched then update set w = t.v
merge into s using (select distinct k from t where k > 3) t on s.k = t.k when matched then delete when not matched then insert values (t.k, 'm')
merge into s using t on s.k = t.k and t.id < 20 when matched then update set w = t.v when not matched and t.id < 20 then insert values (t.k + 5000, t.v)
merge into s using (values (1, 'x'), (500, 'y')) as x(k, w) on s.k = x.k when matched then delete when not matched then insert (k, w) values (x.k, x.w)
merge into s using r on s.k = r.id when matched then update set w = r.name
insert into r values (4, 'four'), (5, 'five') returning id, name
insert into r select k + 100, w from s where k < 3
update r set name = upper(name) where id > 1
update r set name = name || id returning *
delete from r where id = 1
insert into r (id, name) values (1, 'again') on conflict (id) do update set name = excluded.name
update t set v = 'x' where k = any('{1,2,3}')
update t set n = 'bad' where k = 1
insert into t (id, k) values (1, 'bad')
insert into t (id, k) values (1, 1, 1)
insert into t (id, nope) values (1, 1)
insert into t (k, id) values (99999999999, 1)
delete from t where k = 1 and id / 0 = 1
