-- migrate:up
create table farms (
  id int generated always as identity primary key,
  name text not null unique,
  county text not null,
  founded date not null
);

create table cows (
  id int generated always as identity primary key,
  farm_id int not null references farms on delete cascade,
  ear_tag text not null unique,
  name text not null,
  breed text not null check (breed in ('Holstein', 'Jersey', 'Brown Swiss', 'Guernsey')),
  born date not null,
  sold_on date
);
create index cows_of_farm on cows (farm_id) where sold_on is null;
