-- migrate:up
create table milkings (
  id bigint generated always as identity primary key,
  cow_id int not null references cows on delete cascade,
  at timestamptz not null,
  litres numeric(5, 2) not null check (litres > 0)
);
create index milkings_of_cow on milkings (cow_id, at);
create view milk_by_farm as
  select farm_id, date_trunc('month', at) as month, sum(litres) as litres
  from milkings join cows on cows.id = cow_id group by 1, 2;
create view herd as
  select (select count(*) from cows) as cows, count(*) as milkings, sum(litres) as litres from milkings;
