with gone as (delete from t where k < 3 returning *) insert into s (k, w) select 1000 + id, v from gone
with gone as (delete from t where k < 3 returning *) insert into s (k, w) select 1000 + id, v from gone returning k, w, c
with gone as (delete from t where id < 40 returning id, v) select count(*), max(v) from gone
with gone as (delete from t returning *) select k, count(*), sum(n) from gone group by k order by k
with up as (update t set v = v || '!' where id < 30 returning id, k, v) select u.id, u.v, s.w from up u join s on s.k = u.k order by u.id
with up as (update t set v = 'x' where id < 30 returning id, k, v) select t.id, t.v, up.v from t left join up on up.id = t.id order by t.id
with new as (insert into s (k, w) values (100, 'a'), (101, 'b') returning k) select k from new union all select k from s order by k
with new as (insert into s (k, w) select k + 100, v from t where id < 20 returning k, w) insert into t (id, k, v) select 500, k, w from new
with new as (insert into s (k, w) values (100, 'a'), (101, 'b'), (102, 'c') returning k) insert into t (id, k, v) select 9, k, 'for ' || k from new returning id, k, v
with new as (insert into s (k, w) values (1, 'dup'), (101, 'b') on conflict (k) do nothing returning k, w) select k, w, 'new' as what from new union all select k, w, 'old' from s where k in (1, 101) order by 1
with new as (insert into s (k, w) values (1, 'dup'), (101, 'b') on conflict (k) do update set w = excluded.w returning k, w) update t set v = new.w from new where t.k = new.k
with a as (delete from t where id < 10 returning k), b as (update s set w = 'b' where k > 5 returning k) select (select count(*) from a), (select sum(k) from b)
with a as (delete from t where id < 10 returning id), b as (insert into s (k) select 900 + id from a returning k) select a.id, b.k from a join b on b.k = 900 + a.id order by 1
with a as (update s set w = 'x' where k < 4 returning k), b as (delete from t using a where t.k = a.k returning t.id, t.k) select * from b order by id
with a as (delete from s where k < 4 returning *), b as (insert into r (id, name) select k + 50, w from a returning id, name) select * from b order by id
with a as (insert into u (k, v) select k, v from t where id < 4 order by id returning id, k) select count(*), sum(k) from a
with a as (insert into u (k, v) values (3, 'three') returning k) update t set v = 'from u' from a where t.k = a.k returning t.id, t.v
with a as (delete from u returning k, v) insert into s (k, w) select k + 700, v from a
with a as (update t set n = n * 2 where id between 5 and 25 returning id, n), m as (select max(n) as top from a) select a.id from a, m where a.n = m.top order by 1
with old as (select k, w from s where k < 6), up as (update s set w = upper(s.w) where k < 6 returning k, w) select old.k, old.w, up.w from old join up using (k) order by k
with x (a, b) as (delete from t where id < 8 returning id, v) select b, a from x order by a
with x as (delete from t where id < 8 returning id, id, upper(v), k + 1) select count(*) from x
with x as (delete from t where id < 8 returning t.*) select x.v, x.k from x order by x.id
with x as (delete from t as q using s where s.k = q.k and q.id < 8 returning q.id, s.w) select * from x order by id
with x as (update t as q set v = s.w from s where s.k = q.k and q.id < 8 returning q.*, s.*) select id, w, c from x order by id
with gone as (delete from t where id = 1), more as (insert into s (k) values (800)) select 1
with gone as (delete from t where id < 20), more as (insert into s (k) values (800), (801), (802)) update r set name = 'both'
with gone as (delete from t where id < 5 returning *) insert into t (id, k, v) select id + 100, k + 1, v from gone returning id, k
with gone as (delete from s where k = 1 returning *) insert into s select * from gone
with a as (update r set name = name || '!' returning id, name) insert into s (k, w) select id + 600, name from a
with a as (update r set name = name || '!' where id = 1 returning id, name) select t.id, a.name from t join a on a.id = t.k order by 1
with a as (insert into d (day) values ('2024-01-01'), ('2024-01-02') returning day, x) select day, x > 0 from a order by day
with a as (insert into n values (1.005, '\x00ff', '{"a": "b''\\"}'), (2, null, null) returning *) select * from a order by k
with up as (update t set at = now() where id < 20 returning at, id) select count(distinct at), bool_and(at = now()) from up
with a as (delete from t where id = 1 returning k) delete from s where k in (select k from a)
with a as (delete from t where id = 1 returning k) delete from s where k not in (select k from a) returning k
with a as (insert into s (k) values (50) returning k) insert into s (k) values (51), (52)
with recursive up as (update t set v = 'r' where id < 4 returning id), n (i) as (select 1 union all select i + 1 from n where i < 3) select n.i, up.id from n join up on up.id = n.i order by 1
with a as (delete from t where v = 'nothing' returning *) select count(*) from a
with a as (delete from t where v = 'nothing' returning *) insert into s (k, w) select id, v from a returning k
with a as (update t set v = 1 / (id - 5) where id < 20 returning id) select count(*) from a
with a as (insert into s (k) values (1) returning k) select * from a
with a as (insert into s (k) values (900) returning k), b as (insert into t (id, k) values (1, 1), (1, 1)) select * from a
with a as (delete from t where id < 9 returning *) select * from a where nope = 1
with a as (delete from t where id < 30 returning k, v) select distinct a.k, s.w from a join s using (k) order by 1 limit 3
with a as (delete from t where id < 30 returning k, v), c as (select k, count(*) as n from a group by k) insert into s (k, c) select k + 1000, n from c returning k, c
