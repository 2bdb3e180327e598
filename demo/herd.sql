-- The data of the demo: the same 100 farms, 8,000 cows, 320,000 milkings and 1,200 users in every run.
begin;

insert into farms (name, county, founded)
select (array['Sunny', 'Upper', 'Old', 'Clover', 'Windy', 'Stony', 'Green', 'Lower', 'Willow', 'Foggy'])[1 + n / 10]
    || ' ' || (array['Acres', 'Meadow', 'Creek', 'Hill', 'Hollow', 'Barn', 'Pasture', 'Bend', 'Ridge', 'Gate'])[1 + n % 10],
  (array['Goleta', 'Santa Ynez', 'Lompoc', 'Carpinteria'])[1 + n % 4],
  date '1921-04-01' + n * 311
from generate_series(0, 99) n;

insert into cows (farm_id, ear_tag, name, breed, born, sold_on)
select 1 + n % 100,
  'US-' || 840000 + n,
  (array['Berta', 'Elsa', 'Daisy', 'Rosie', 'Clara', 'Molly', 'Bella', 'Heidi', 'Luna', 'Olga', 'Nelly', 'Frida', 'Buttercup'])[1 + n % 13],
  (array['Holstein', 'Holstein', 'Holstein', 'Jersey', 'Brown Swiss', 'Guernsey'])[1 + n % 6],
  date '2017-01-15' + n * 7 % 2600,
  case when n % 17 = 0 then date '2026-09-01' + n % 28 end
from generate_series(1, 8000) n;

-- Twenty days, morning and evening.
insert into milkings (cow_id, at, litres)
select cow, timestamptz '2026-10-01 05:30:00+00' + half_day * interval '12 hours' + noise % 5400 * interval '1 second',
  6 + noise % 1100 / 100.0
from generate_series(1, 8000) cow, generate_series(0, 39) half_day,
  lateral (select (cow * 7919 + half_day * 104729)::bigint * 48271 % 2147483647 as noise) random;

insert into users (farm_id, email, full_name, role, settings, joined)
select 1 + n % 100,
  lower(first || '.' || last) || n || '@happycows.example',
  first || ' ' || last,
  (array['farmer', 'milker', 'milker', 'vet'])[1 + n % 4],
  jsonb_build_object('units', case when n % 3 = 0 then 'gallons' else 'litres' end, 'mails', n % 2 = 0),
  timestamptz '2024-02-29 12:00:00+00' + n * interval '13 hours'
from (
  select n,
    (array['Ada', 'Grace', 'Linus', 'Edsger', 'Barbara', 'Alan', 'Radia', 'Ken'])[1 + n % 8] as first,
    (array['Moos', 'Weide', 'Stall', 'Heu', 'Milch', 'Klee', 'Kalb'])[1 + n % 7] as last
  from generate_series(1, 1200) n
) people;

commit;
analyze;
