-- A database with everything in it that breaks backups, third part: routines, operators, text search, foreign data,
-- large objects, publications, event triggers.

create schema routines;
create function routines.plain(a int, b text default E'it''s; \\ "odd"', variadic c numeric[] default '{1.50}') returns text
  language sql immutable parallel safe cost 17 as $_$ select $1 || $2 || '$$' || array_to_string($3, ',') $_$;
create function routines.plain(a text) returns text language sql strict leakproof return upper(a) || 'x';
create function routines.worded_atomic(n int) returns table (id int, t text) language sql stable rows 17 begin atomic
  select o.id, o.t from rules.options o where o.id < worded_atomic.n and o.t in ('t1', 't2');
  select w.id, w.v from rules.worded w where w.v in ('a', 'b'); end;
create function routines.settings() returns text language plpgsql security definer set search_path = "Odd, ""Path""", pg_temp
  set work_mem = '1MB' set my.own = 'it''s' as $body$ begin return current_setting('search_path') || $$;$$ || E'\\.'; end $body$;
create function routines.outs(inout a types.mood, out b types.email, in c types.float_range default 'empty') language plpgsql as
  'begin b := ''a@b.cd''; end';
create function routines.windowed(anyelement) returns anyelement language internal window as 'window_first_value';
create procedure routines.proc(out c int, in a int, inout b text default 'x') language plpgsql as $$ begin c := a; commit; end $$;
create procedure routines.proc_atomic(a int) begin atomic
  insert into rules.late values (a, null); delete from rules.late where id = a; end;
create function routines.add(a types.address, b types.address) returns types.address language sql immutable as
  $$ select row(a.street || b.street, a."house No", null)::types.address $$;
create aggregate routines.sum_of (types.address) (sfunc = routines.add, stype = types.address, initcond = '("",0,)', parallel = safe);
create aggregate routines.moving (float8) (sfunc = float8pl, stype = float8, initcond = '0',
  msfunc = float8pl, minvfunc = float8mi, mstype = float8, minitcond = '0');
create aggregate routines.middle (float8 order by anyelement)
  (sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_disc_final, finalfunc_extra);
create function routines.same(types.address, types.address) returns bool language sql immutable as 'select $1.street = $2.street';
create function routines.less(types.address, types.address) returns bool language sql immutable as 'select $1.street < $2.street';
create function routines.compare(types.address, types.address) returns int language sql immutable as 'select bttextcmp($1.street, $2.street)';
create operator routines.=== (leftarg = types.address, rightarg = types.address, function = routines.same,
  commutator = operator(routines.===), negator = operator(routines.<!>), restrict = eqsel, join = eqjoinsel, merges);
create operator routines.<< (leftarg = types.address, rightarg = types.address, function = routines.less);
create function routines.not_same(types.address, types.address) returns bool language sql immutable as 'select $1.street <> $2.street';
create operator routines.<!> (leftarg = types.address, rightarg = types.address, function = routines.not_same, negator = operator(routines.===));
create operator family routines."odd; family" using btree;
create operator class routines."odd; class" for type types.address using btree family routines."odd; family" as
  operator 1 routines.<<, operator 3 routines.===, function 1 routines.compare(types.address, types.address);
create function routines.to_address(text) returns types.address language sql immutable as 'select row($1, 1, null)::types.address';
create cast (text as types.address) with function routines.to_address(text) as assignment;
create cast (types.address as jsonb) with inout as implicit;
create function routines.of_odd_names("a""b" int, "select" int) returns int language sql as 'select "a""b" + "select"';
create conversion routines.other_latin1 for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1;

create collation routines.german from "de_DE.utf8";
create collation routines.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table vals.collated (a text collate routines.caseless unique, b text collate routines.german, c text collate "C");
insert into vals.collated values ('a', 'ä', 'z'), ('B', 'z', 'Z');
create index collated_b on vals.collated (b collate "de_DE.utf8" desc, a collate "C");

create text search dictionary routines.dict (template = snowball, language = german, stopwords = english);
create text search dictionary routines.same_word (template = simple, accept = false);
create text search configuration routines.search (parser = "default");
alter text search configuration routines.search add mapping for asciiword, word with routines.same_word, routines.dict, english_stem;
alter text search configuration routines.search add mapping for numword with simple;
create index worded_search on rules.worded using gin (to_tsvector('routines.search', coalesce(v, '')));

create foreign data wrapper nothing options (debug 'it''s');
create server "odd; server" type 'cow' version '1"' foreign data wrapper nothing options (a 'b''c');
create server elsewhere foreign data wrapper postgres_fdw options (host '192.0.2.1', dbname 'it''s = odd');
create user mapping for farmer server "odd; server" options ("user" 'x', password 'se''cret');
create user mapping for public server elsewhere options (user 'y');
create foreign table routines."far away" (id int options (column_name 'the id') not null, t text default 'x' check (t <> '')) server elsewhere
  options (schema_name 'public', table_name 'x');

select lo_from_bytea(4242001, '\x0001ff5c2e0a0d'), lo_create(4242002), lo_create(4000000000);
select lo_from_bytea(4242003, (select decode(string_agg(md5(g::text), ''), 'hex') from generate_series(1, 196608) g));
select lo_put(4000000000, 1000000, 'behind a hole');
select lo_from_bytea(4242100 + n, convert_to('object ' || n, 'utf8')) from generate_series(1, 20) n;
alter large object 4242001 owner to farmer;
alter large object 4242002 owner to "Odd ""Role"" ";
grant select on large object 4242001 to milkmaid with grant option;
grant all on large object 4242003 to public;

create publication everything for all tables with (publish = 'insert, delete', publish_via_partition_root = true);
create publication "some; rows" for table rules.options (id, t) where (id > 10 and t in ('t1', 't2')), only heirs.animal;
create publication of_schema for tables in schema parts, "Weird ""Name"" ";
create subscription "off; line" connection 'host=192.0.2.1 dbname=x password=y' publication a, "b; c" with (connect = false, slot_name = none, enabled = false);

create schema audit;
create table audit.commands (at timestamptz default clock_timestamp(), tag text, what text);
create function audit.note() returns event_trigger language plpgsql security definer as $$ begin
  insert into audit.commands (tag, what) select command_tag, object_identity from pg_event_trigger_ddl_commands(); end $$;
create function audit.note_drops() returns event_trigger language plpgsql security definer as $$ begin
  insert into audit.commands (tag, what) select 'DROP', object_identity from pg_event_trigger_dropped_objects(); end $$;
create event trigger "ddl; commands" on ddl_command_end execute function audit.note();
create event trigger drops on sql_drop execute function audit.note_drops();
create event trigger of_some on ddl_command_start when tag in ('DROP TABLE', 'ALTER TABLE') execute function audit.note_drops();
create event trigger rewrites on table_rewrite execute function audit.note_drops();
alter event trigger of_some disable;
alter event trigger rewrites disable;
