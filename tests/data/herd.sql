-- A small herd: what most tests back up.
create table farmers (id serial primary key, name text not null, mood varchar(20) check (mood in ('happy', 'sad')));
create table cows (
  id bigint generated always as identity primary key,
  farmer int references farmers,
  name text,
  milk numeric(8, 2) default 0,
  born timestamptz default now()
);
create index cows_of_some on cows (farmer) where name in ('Berta', 'Elsa');
insert into farmers (name, mood) select 'farmer ' || n, case when n % 2 = 0 then 'happy' end from generate_series(1, 100) n;
insert into cows (farmer, name, milk) select 1 + n % 100, 'cow ' || n, n % 100 / 3.0 from generate_series(1, 5000) n;
