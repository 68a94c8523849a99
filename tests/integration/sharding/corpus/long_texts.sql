-- names stand where a long text is no longer shown: a reference table is written everywhere
-- finally: delete from statuses where status like 'long%'
insert into statuses with made as (select g, coalesce(g, 0) as measured_number_0, coalesce(g, 1) as measured_number_1, coalesce(g, 2) as measured_number_2,
    coalesce(g, 3) as measured_number_3, coalesce(g, 4) as measured_number_4, coalesce(g, 5) as measured_number_5,
    coalesce(g, 6) as measured_number_6, coalesce(g, 7) as measured_number_7, coalesce(g, 8) as measured_number_8,
    coalesce(g, 9) as measured_number_9, coalesce(g, 10) as measured_number_10, coalesce(g, 11) as measured_number_11,
    coalesce(g, 12) as measured_number_12, coalesce(g, 13) as measured_number_13, coalesce(g, 14) as measured_number_14,
    coalesce(g, 15) as measured_number_15, coalesce(g, 16) as measured_number_16, coalesce(g, 17) as measured_number_17,
    coalesce(g, 18) as measured_number_18, coalesce(g, 19) as measured_number_19, coalesce(g, 20) as measured_number_20,
    coalesce(g, 21) as measured_number_21, coalesce(g, 22) as measured_number_22, coalesce(g, 23) as measured_number_23,
    coalesce(g, 24) as measured_number_24, coalesce(g, 25) as measured_number_25, coalesce(g, 26) as measured_number_26,
    coalesce(g, 27) as measured_number_27, coalesce(g, 28) as measured_number_28, coalesce(g, 29) as measured_number_29,
    coalesce(g, 30) as measured_number_30, coalesce(g, 31) as measured_number_31, coalesce(g, 32) as measured_number_32,
    coalesce(g, 33) as measured_number_33, coalesce(g, 34) as measured_number_34, coalesce(g, 35) as measured_number_35,
    coalesce(g, 36) as measured_number_36, coalesce(g, 37) as measured_number_37, coalesce(g, 38) as measured_number_38,
    coalesce(g, 39) as measured_number_39, coalesce(g, 40) as measured_number_40, coalesce(g, 41) as measured_number_41,
    coalesce(g, 42) as measured_number_42, coalesce(g, 43) as measured_number_43, coalesce(g, 44) as measured_number_44,
    coalesce(g, 45) as measured_number_45, coalesce(g, 46) as measured_number_46, coalesce(g, 47) as measured_number_47,
    coalesce(g, 48) as measured_number_48, coalesce(g, 49) as measured_number_49, coalesce(g, 50) as measured_number_50,
    coalesce(g, 51) as measured_number_51, coalesce(g, 52) as measured_number_52, coalesce(g, 53) as measured_number_53,
    coalesce(g, 54) as measured_number_54, coalesce(g, 55) as measured_number_55, coalesce(g, 56) as measured_number_56,
    coalesce(g, 57) as measured_number_57, coalesce(g, 58) as measured_number_58, coalesce(g, 59) as measured_number_59
    from generate_series(1, 3) g)
    select 'long ' || measured_number_0, null, measured_number_59 from made;
select * from statuses s join customers c on c.id = 5 order by s.status;
select count(*) from statuses s, customers c where s.status like 'long%';

-- a sharded table is read
select case when k = 0 then v || 'number_0' when k = 1 then v || 'number_1' when k = 2 then v || 'number_2'
    when k = 3 then v || 'number_3' when k = 4 then v || 'number_4' when k = 5 then v || 'number_5'
    when k = 6 then v || 'number_6' when k = 7 then v || 'number_7' when k = 8 then v || 'number_8'
    when k = 9 then v || 'number_9' when k = 10 then v || 'number_10' when k = 11 then v || 'number_11'
    when k = 12 then v || 'number_12' when k = 13 then v || 'number_13' when k = 14 then v || 'number_14'
    when k = 15 then v || 'number_15' when k = 16 then v || 'number_16' when k = 17 then v || 'number_17'
    when k = 18 then v || 'number_18' when k = 19 then v || 'number_19' when k = 20 then v || 'number_20'
    when k = 21 then v || 'number_21' when k = 22 then v || 'number_22' when k = 23 then v || 'number_23'
    when k = 24 then v || 'number_24' when k = 25 then v || 'number_25' when k = 26 then v || 'number_26'
    when k = 27 then v || 'number_27' when k = 28 then v || 'number_28' when k = 29 then v || 'number_29'
    when k = 30 then v || 'number_30' when k = 31 then v || 'number_31' when k = 32 then v || 'number_32'
    when k = 33 then v || 'number_33' when k = 34 then v || 'number_34' when k = 35 then v || 'number_35'
    when k = 36 then v || 'number_36' when k = 37 then v || 'number_37' when k = 38 then v || 'number_38'
    when k = 39 then v || 'number_39' when k = 40 then v || 'number_40' when k = 41 then v || 'number_41'
    when k = 42 then v || 'number_42' when k = 43 then v || 'number_43' when k = 44 then v || 'number_44'
    when k = 45 then v || 'number_45' when k = 46 then v || 'number_46' when k = 47 then v || 'number_47'
    when k = 48 then v || 'number_48' when k = 49 then v || 'number_49' when k = 50 then v || 'number_50'
    when k = 51 then v || 'number_51' when k = 52 then v || 'number_52' when k = 53 then v || 'number_53'
    when k = 54 then v || 'number_54' when k = 55 then v || 'number_55' when k = 56 then v || 'number_56'
    when k = 57 then v || 'number_57' when k = 58 then v || 'number_58' when k = 59 then v || 'number_59'
    when k = 60 then v || 'number_60' when k = 61 then v || 'number_61' when k = 62 then v || 'number_62'
    when k = 63 then v || 'number_63' when k = 64 then v || 'number_64' when k = 65 then v || 'number_65'
    when k = 66 then v || 'number_66' when k = 67 then v || 'number_67' when k = 68 then v || 'number_68'
    when k = 69 then v || 'number_69' when k = 70 then v || 'number_70' when k = 71 then v || 'number_71'
    when k = 72 then v || 'number_72' when k = 73 then v || 'number_73' when k = 74 then v || 'number_74'
    else v end as shown, count(*) from loose group by 1 order by 1 collate "C" limit 20;

-- several statements, the last of which names what is sharded
-- finally: alter table loose drop column if exists added
delete from loose where k = -77;
select coalesce(g, 0) as measured_number_0, coalesce(g, 1) as measured_number_1, coalesce(g, 2) as measured_number_2,
    coalesce(g, 3) as measured_number_3, coalesce(g, 4) as measured_number_4, coalesce(g, 5) as measured_number_5,
    coalesce(g, 6) as measured_number_6, coalesce(g, 7) as measured_number_7, coalesce(g, 8) as measured_number_8,
    coalesce(g, 9) as measured_number_9, coalesce(g, 10) as measured_number_10, coalesce(g, 11) as measured_number_11,
    coalesce(g, 12) as measured_number_12, coalesce(g, 13) as measured_number_13, coalesce(g, 14) as measured_number_14,
    coalesce(g, 15) as measured_number_15, coalesce(g, 16) as measured_number_16, coalesce(g, 17) as measured_number_17,
    coalesce(g, 18) as measured_number_18, coalesce(g, 19) as measured_number_19, coalesce(g, 20) as measured_number_20,
    coalesce(g, 21) as measured_number_21, coalesce(g, 22) as measured_number_22, coalesce(g, 23) as measured_number_23,
    coalesce(g, 24) as measured_number_24, coalesce(g, 25) as measured_number_25, coalesce(g, 26) as measured_number_26,
    coalesce(g, 27) as measured_number_27, coalesce(g, 28) as measured_number_28, coalesce(g, 29) as measured_number_29,
    coalesce(g, 30) as measured_number_30, coalesce(g, 31) as measured_number_31, coalesce(g, 32) as measured_number_32,
    coalesce(g, 33) as measured_number_33, coalesce(g, 34) as measured_number_34, coalesce(g, 35) as measured_number_35,
    coalesce(g, 36) as measured_number_36, coalesce(g, 37) as measured_number_37, coalesce(g, 38) as measured_number_38,
    coalesce(g, 39) as measured_number_39, coalesce(g, 40) as measured_number_40, coalesce(g, 41) as measured_number_41,
    coalesce(g, 42) as measured_number_42, coalesce(g, 43) as measured_number_43, coalesce(g, 44) as measured_number_44,
    coalesce(g, 45) as measured_number_45, coalesce(g, 46) as measured_number_46, coalesce(g, 47) as measured_number_47,
    coalesce(g, 48) as measured_number_48, coalesce(g, 49) as measured_number_49, coalesce(g, 50) as measured_number_50,
    coalesce(g, 51) as measured_number_51, coalesce(g, 52) as measured_number_52, coalesce(g, 53) as measured_number_53,
    coalesce(g, 54) as measured_number_54, coalesce(g, 55) as measured_number_55, coalesce(g, 56) as measured_number_56,
    coalesce(g, 57) as measured_number_57, coalesce(g, 58) as measured_number_58, coalesce(g, 59) as measured_number_59 from generate_series(1, 2) g \; alter table loose add column added int;
select count(added) from loose;

-- control characters in names
insert into statuses values ('control', 'x', 5) returning status as "ab";
select s.label as "ab" from statuses s join customers c on c.id = 5 where s.status = 'control';

-- errors that a server tells are told before a refusal
select * fro customers;
select * from customers where note = 'abc;
select nothing, tableoid from customers;
select tableoid from customers where name = 5;
