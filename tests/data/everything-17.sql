-- What only Postgres 17 and later have; goes before everything-end.sql.

grant milkmaid to "-dash, 'quote' \ $$ 🐖" with admin option, inherit false, set false;
set role "-dash, 'quote' \ $$ 🐖";
grant milkmaid to "new
line; role" with inherit true granted by "-dash, 'quote' \ $$ 🐖";
reset role;
grant maintain on rules.late to farmer with grant option;
insert into vals.texts (b) select n::"char" from generate_series(-128, 127, 5) n;
insert into vals.days (i) values ('infinity'), ('-infinity');
create table rules.documents (id int primary key, d text check (d is json object with unique keys), at timestamptz[] default array[now() at local]);
insert into rules.documents values (1, '{"a": [1, {"b": "it''s"}]}', '{}');
create view views.json_rows as select id, j.* from rules.documents, json_table(d, 'lax $.a[*] ? (@ > $limit)' passing 0 as "limit"
  columns (n for ordinality, v int path '$' default 7 on error, nested path '$.b' as deep columns (b text path '$'))) j;
create view views.json_built as select json_object('k' value id, 'x': v absent on null returning jsonb) as o, json_arrayagg(v returning text) over () a,
  json_query(d, '$.a' with conditional wrapper keep quotes) q, any_value(v) over () from rules.documents, lateral (values (1), (2)) w (v);
create function routines.worded_merged() returns setof rules.late begin atomic merge into rules.late l using rules.worded w on l.id = w.id
  when matched and w.v in ('a', 'b') then update set r = null when not matched by source then delete when not matched then do nothing returning l.*; end;
create table parts.numbered (id bigint generated always as identity (start 10), k int, during int4range, exclude using gist (k with =, during with &&)) partition by range (k);
create table parts.numbered_1 partition of parts.numbered for values from (0) to (100);
insert into parts.numbered (k, during) select n, int4range(n, n + 2) from generate_series(1, 50) n;
create collation routines.plain (provider = builtin, locale = 'C.UTF-8');
create domain types.named as text constraint "never; null" not null;
-- Whoever connects leaves a row.
create table audit.logins (who text, pid int);
create function audit.login() returns event_trigger language plpgsql security definer as $$ begin
  if current_setting('transaction_read_only') = 'off' then insert into audit.logins values (session_user, pg_backend_pid()); end if; end $$;
create event trigger "who; comes" on login execute function audit.login();
alter event trigger "who; comes" enable always;
