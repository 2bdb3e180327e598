-- migrate:up
create table users (
  id int generated always as identity primary key,
  farm_id int not null references farms on delete cascade,
  email text not null unique,
  full_name text not null,
  role text not null check (role in ('farmer', 'vet', 'milker')),
  settings jsonb not null default '{}',
  joined timestamptz not null
);
