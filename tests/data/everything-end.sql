-- A database with everything in it that breaks backups, last part: owners, rights, comments and the database's settings.

alter table rules.options owner to farmer;
alter table rules.tree owner to "Odd ""Role"" ";
alter table rules.both owner to farmer;
alter materialized view views.counted owner to farmer;
alter schema public owner to farmer;
alter schema rules owner to farmer;
alter type types.mood owner to farmer;
alter domain types.email owner to "-dash, 'quote' \ $$ 🐖";
alter function routines.settings() owner to farmer;
alter server "odd; server" owner to farmer;
alter collation routines.german owner to farmer;
alter publication of_schema owner to postgres;

grant usage on schema rules, types, routines, views to public;
grant select (id, t), update (t) on rules.options to milkmaid, "new
line; role" with grant option;
grant select, insert on rules.options to "Odd ""Role"" " with grant option;
grant all on rules.late to public;
revoke all on rules.log from postgres;
revoke insert, delete on rules.tree from "Odd ""Role"" ";
grant truncate, references, trigger on rules.both to farmer with grant option;
grant usage, update on sequence seqs.down to milkmaid;
grant select on all sequences in schema seqs to "Odd ""Role"" ";
revoke execute on function routines.settings() from public;
grant execute on function routines.settings() to milkmaid with grant option;
grant execute on procedure routines.proc to "new
line; role";
revoke usage on type types.mood from public;
grant usage on domain types.email to milkmaid;
revoke usage on language plpgsql from public;
grant usage on foreign data wrapper nothing to farmer;
grant usage on foreign server elsewhere to farmer with grant option;
revoke all on schema public from public;
grant create on schema "dot.dot" to milkmaid;
grant execute on function pg_catalog.pg_stat_reset() to farmer;
revoke execute on function pg_catalog.pg_sleep(double precision) from public;
grant select (rolname) on pg_catalog.pg_authid to milkmaid;
revoke execute on function "Ext ""Schema"" ".crypt(text, text) from public;
alter default privileges revoke execute on functions from public;
alter default privileges for role farmer in schema rules, "semi;colon" grant select on tables to milkmaid with grant option;
alter default privileges for role "Odd ""Role"" " grant usage on types to "new
line; role";
alter default privileges in schema types grant all on sequences to public;

alter table rules.options enable row level security;
alter table rules.tree enable row level security, force row level security;
alter table rules.both enable row level security, force row level security;
create policy "odd; policy" on rules.options using (t in ('t1', 't2') or id > 0) with check (t <> 'it''s');
create policy mine on rules.options as restrictive for select to milkmaid, "new
line; role" using (u = current_user);
create policy worded on rules.worded for update using (v in ('a', 'b')) with check (v = any (array['a', 'b']));
create policy nobody on rules.tree for all to public using (false);
create policy ins on rules.both for insert with check (exists (select from rules.tree where a = x));

-- A comment on everything that has a name and is not an extension's.
create function pg_temp.target(kind text, identity text, d text) returns text language sql as $$ select case
  when kind in ('table column', 'view column', 'foreign table column', 'composite type column', 'materialized view column') then 'column ' || identity
  when kind = 'composite type' then 'type ' || identity
  when kind = 'table constraint' then 'constraint ' || identity
  when kind = 'domain constraint' then 'constraint ' || regexp_replace(identity, ' on (?=[^"]*("[^"]*"[^"]*)*$)', ' on domain ')
  when kind = 'foreign-data wrapper' then 'foreign data wrapper ' || identity
  when kind = 'statistics object' then 'statistics ' || identity
  else kind || ' ' || identity end || ' is ' || quote_literal(E'about; the "' || kind || E'" it''s \\\n\\.\n🐄 ' || d) $$;
select 'comment on ' || pg_temp.target(i.type, i.identity, i.identity) from (
  select 'pg_class'::regclass classid, oid, 0 sub from pg_class where relkind not in ('t', 'I') or relkind = 'I'
  union all select 'pg_class'::regclass, attrelid, attnum from pg_attribute join pg_class c on c.oid = attrelid
    where attnum > 0 and not attisdropped and relkind in ('r', 'v', 'm', 'c', 'f', 'p')
  union all select 'pg_proc'::regclass, oid, 0 from pg_proc union all select 'pg_constraint'::regclass, oid, 0 from pg_constraint where contype <> 't' and conislocal and conparentid = 0
  union all select 'pg_trigger'::regclass, oid, 0 from pg_trigger where not tgisinternal and tgparentid = 0
  union all select 'pg_rewrite'::regclass, oid, 0 from pg_rewrite where rulename <> '_RETURN'
  union all select 'pg_type'::regclass, t.oid, 0 from pg_type t left join pg_class c on c.oid = typrelid
    where typelem = 0 and typtype <> 'm' and coalesce(relkind, 'c') = 'c'
  union all select 'pg_namespace'::regclass, oid, 0 from pg_namespace union all select 'pg_extension'::regclass, oid, 0 from pg_extension
  union all select 'pg_operator'::regclass, oid, 0 from pg_operator union all select 'pg_opclass'::regclass, oid, 0 from pg_opclass
  union all select 'pg_opfamily'::regclass, oid, 0 from pg_opfamily union all select 'pg_cast'::regclass, oid, 0 from pg_cast
  union all select 'pg_collation'::regclass, oid, 0 from pg_collation union all select 'pg_conversion'::regclass, oid, 0 from pg_conversion
  union all select 'pg_ts_config'::regclass, oid, 0 from pg_ts_config union all select 'pg_ts_dict'::regclass, oid, 0 from pg_ts_dict
  union all select 'pg_foreign_data_wrapper'::regclass, oid, 0 from pg_foreign_data_wrapper
  union all select 'pg_foreign_server'::regclass, oid, 0 from pg_foreign_server union all select 'pg_am'::regclass, oid, 0 from pg_am
  union all select 'pg_event_trigger'::regclass, oid, 0 from pg_event_trigger union all select 'pg_publication'::regclass, oid, 0 from pg_publication
  union all select 'pg_subscription'::regclass, oid, 0 from pg_subscription
  union all select 'pg_statistic_ext'::regclass, oid, 0 from pg_statistic_ext union all select 'pg_policy'::regclass, oid, 0 from pg_policy
  union all select 'pg_language'::regclass, oid, 0 from pg_language union all select 'pg_largeobject'::regclass, oid, 0 from pg_largeobject_metadata
) o, pg_identify_object(classid, oid, sub) i
where (oid >= 16384 or classid in ('pg_extension'::regclass, 'pg_largeobject'::regclass)) and concat(i.schema, '.', i.identity) !~ '(^|[.])pg_(temp|toast)'
  and not exists (select from pg_depend p where p.classid = o.classid and p.objid = o.oid and p.deptype in ('e', 'i')
    and o.classid not in ('pg_constraint'::regclass, 'pg_class'::regclass))
  and not exists (select from pg_depend p where p.classid = o.classid and p.objid = o.oid and p.deptype = 'e')
order by 1 \gexec
comment on schema public is '';

-- Settings that get in the way of a dump or a restore.
create view types.pg_database as select 'hides another'::name as datname;
comment on database :"DBNAME" is E'it''s "everything"; \\.\n🐄';
alter database :"DBNAME" owner to farmer;
grant temporary, connect on database :"DBNAME" to milkmaid with grant option;
revoke all on database :"DBNAME" from public;
alter database :"DBNAME" connection limit 50;
alter database :"DBNAME" set lc_monetary = 'de_DE.utf8';
alter database :"DBNAME" set default_transaction_read_only = on;
alter database :"DBNAME" set default_transaction_isolation = serializable;
alter database :"DBNAME" set default_transaction_deferrable = on;
alter database :"DBNAME" set search_path = "Odd, ""Path""", "Weird ""Name"" ", types, pg_catalog;
alter database :"DBNAME" set bytea_output = escape;
alter database :"DBNAME" set "DateStyle" = 'German';
alter database :"DBNAME" set "IntervalStyle" = sql_standard;
alter database :"DBNAME" set "TimeZone" = 'Pacific/Apia';
alter database :"DBNAME" set statement_timeout = '5ms';
alter database :"DBNAME" set lock_timeout = '1s';
alter database :"DBNAME" set idle_session_timeout = '1s';
alter database :"DBNAME" set idle_in_transaction_session_timeout = '1s';
alter database :"DBNAME" set xmlbinary = hex;
alter database :"DBNAME" set xmloption = document;
alter database :"DBNAME" set lc_messages = 'de_DE.utf8';
alter database :"DBNAME" set lc_time = 'de_DE.utf8';
alter database :"DBNAME" set lc_numeric = 'de_DE.utf8';
alter database :"DBNAME" set row_security = off;
alter database :"DBNAME" set extra_float_digits = -15;
alter database :"DBNAME" set array_nulls = off;
alter database :"DBNAME" set standard_conforming_strings = off;
alter database :"DBNAME" set transform_null_equals = on;
alter database :"DBNAME" set quote_all_identifiers = on;
alter database :"DBNAME" set check_function_bodies = off;
alter database :"DBNAME" set session_replication_role = replica;
alter database :"DBNAME" set client_encoding = 'LATIN1';
alter database :"DBNAME" set role = 'farmer';
alter database :"DBNAME" set my.own = E'it''s \\ "odd", 1';
alter database :"DBNAME" set default_text_search_config = 'pg_catalog.german';
alter role farmer in database :"DBNAME" set statement_timeout = '1ms';
alter role "Odd ""Role"" " in database :"DBNAME" set search_path = '';
alter role postgres in database :"DBNAME" set work_mem = '9MB';
