-- What only Postgres 18 and later have; goes after everything-17.sql and before everything-end.sql.

create table rules.computed (id uuid primary key default uuidv7(), a int constraint "a; there" not null no inherit, b int,
  total int generated always as (a + coalesce(b, 0)) virtual, shown text generated always as ('it''s ' || a) stored,
  constraint wished check (a > 1000) not enforced, constraint somewhere foreign key (b) references rules.tree (id) not enforced);
insert into rules.computed (id, a, b) select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, n, n * 1000 from generate_series(1, 10) n;

create table rules.stays (room int4range, during tstzrange, constraint one_guest primary key (room, during without overlaps));
insert into rules.stays values ('[1,2)', '[2026-01-01,2026-02-01)'), ('[1,2)', '[2026-02-01,infinity)'), ('[2,3)', '(,)');
create table rules.visits (id int, room int4range, during tstzrange, foreign key (room, period during) references rules.stays (room, period during));
insert into rules.visits values (1, '[1,2)', '[2026-01-15,2026-03-01)');
create table rules.nulls_later (a int, b int);
insert into rules.nulls_later values (null, null);
alter table rules.nulls_later add constraint soon not null a not valid;
create collation routines.fast (provider = builtin, locale = 'PG_UNICODE_FAST');
create view views.returned as select casefold(t collate routines.fast) as t, uuid_extract_version(c.id) from rules.options o join rules.computed c on c.a = o.id;
create function routines.both_sides() returns table (o int, n int) begin atomic
  update rules.late set r = r + 1 where id = 0 returning with (old as before, new as after) before.r, after.r; end;
create publication with_generated for table rules.computed with (publish_generated_columns = stored);
alter default privileges for role farmer grant select on large objects to milkmaid;
