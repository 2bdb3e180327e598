-- What a database holds, one line for each thing, in words that do not depend on the version of Postgres.
-- Written apart from the program, to compare a database before and after.
set role none; set default_transaction_read_only = off; set session_replication_role = replica; set standard_conforming_strings = on;
set statement_timeout = 0; set lock_timeout = 0; set search_path = pg_catalog; set client_encoding = 'UTF8';
set "DateStyle" = 'ISO'; set "IntervalStyle" = postgres; set "TimeZone" = 'UTC'; set bytea_output = hex; set xmlbinary = base64;
set extra_float_digits = 3; set lc_monetary = 'C'; set quote_all_identifiers = off; set default_transaction_isolation = 'read committed'; set max_parallel_workers_per_gather = 0;

select format('select %L || json_build_array(count(*), md5(string_agg("§"::text, E''\n'' order by "§"::text collate "C"))) from only %I.%I "§"',
  format('rows of %s %I.%I: ', relkind, nspname, relname), nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema') and relname !~ '^by_mood_' \gexec
-- Those of by_mood may be in another partition after a restore, so only all of them together are the same.
select format('select %L || json_build_array(count(*), md5(string_agg("§"::text, E''\n'' order by "§"::text collate "C"))) from %I.%I "§"',
  format('rows of %s %I.%I: ', relkind, nspname, relname), nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind = 'p' or relkind = 'm' and relispopulated \gexec
select format('select %L || json_build_array(last_value, is_called) from %I.%I', format('sequence %I.%I: ', nspname, relname), nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace where relkind = 'S' \gexec
select format('large object %s: ', oid) || json_build_array(length(lo_get(oid)), md5(lo_get(oid)), pg_get_userbyid(lomowner))
from pg_largeobject_metadata;
select format('populated %s: ', oid::regclass) || relispopulated from pg_class where relkind = 'm';
select format('labels of %s: ', enumtypid::regtype) || json_agg(enumlabel order by enumsortorder) from pg_enum group by enumtypid;

-- Owners and rights; no rights at all written down are the default ones.
create function pg_temp.rights(kind "char", owner oid, acl aclitem[]) returns text language sql as $$
  select json_build_array(pg_get_userbyid(owner), (select json_agg(concat_ws(' ', pg_get_userbyid(grantor), '→',
      case when grantee = 0 then 'PUBLIC' else pg_get_userbyid(grantee) end, privilege_type, is_grantable) order by grantor::regrole::text,
      grantee::regrole::text, privilege_type, is_grantable)
    from aclexplode(coalesce(acl, acldefault(kind, owner))) where privilege_type <> 'MAINTAIN'))::text $$;
select format('rights on %s %s: ', relkind, oid::regclass) || pg_temp.rights(case relkind when 'S' then 's' else 'r' end::"char", relowner, relacl)
from pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and (oid >= 16384 or relacl is not null) and relnamespace <> 'information_schema'::regnamespace
  and not (relnamespace = 'pg_catalog'::regnamespace and relname <> 'pg_authid');
select format('rights on column %s.%I: ', attrelid::regclass, attname) || pg_temp.rights('c', relowner, attacl)
from pg_attribute join pg_class c on c.oid = attrelid where attacl is not null and not (attrelid < 16384 and attrelid <> 'pg_authid'::regclass);
select format('rights on %s: ', oid::regprocedure) || pg_temp.rights('f', proowner, proacl) from pg_proc p
where pronamespace <> pg_my_temp_schema() and (proname in ('pg_sleep', 'pg_stat_reset') or oid >= 16384 and (proacl is not null
  or not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = p.oid and deptype = 'e')));
select format('rights on schema %s: ', oid::regnamespace) || pg_temp.rights('n', nspowner, nspacl) from pg_namespace where nspname !~ '^pg_';
select format('rights on type %s: ', oid::regtype) || pg_temp.rights('T', typowner, typacl) from pg_type where oid >= 16384 and typelem = 0 and typtype in ('e', 'd', 'b', 'r');
select format('rights on language %s: ', lanname) || pg_temp.rights('l', lanowner, lanacl) from pg_language;
select format('rights on server %s: ', srvname) || pg_temp.rights('S', srvowner, srvacl) from pg_foreign_server;
select format('rights on wrapper %s: ', fdwname) || pg_temp.rights('F', fdwowner, fdwacl) from pg_foreign_data_wrapper;
select format('rights on large object %s: ', oid) || pg_temp.rights('L', lomowner, lomacl) from pg_largeobject_metadata;
select format('default rights of %s %s %s: ', pg_get_userbyid(defaclrole), defaclnamespace::regnamespace, defaclobjtype) ||
  pg_temp.rights(case defaclobjtype when 'S' then 's' else defaclobjtype end, defaclrole, defaclacl) from pg_default_acl;

select format('comment on %s %s: ', type, identity) || to_json(description) from pg_description d, pg_identify_object(classoid, objoid, objsubid) i
where objoid >= 16384 or classoid in ('pg_largeobject'::regclass, 'pg_namespace'::regclass);
select format('extension %s: ', extname) || extnamespace::regnamespace from pg_extension;

-- Roles come along into another service.
select format('role %I: ', rolname) || json_build_array(to_jsonb(r) - 'oid', shobj_description(oid, 'pg_authid'),
  (select json_agg(setconfig) from pg_db_role_setting where setrole = r.oid and setdatabase = 0)) from pg_authid r where rolname !~ '^(pg_|postgres$)';
select format('member of %s: ', roleid::regrole) || json_build_array(member::regrole, admin_option, grantor::regrole) from pg_auth_members
  where roleid::regrole::text !~ '^pg_';
select format('rights on %s: ', parname) || pg_temp.rights('p', 10, paracl) from pg_parameter_acl;

