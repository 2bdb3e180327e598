-- How everything in a database is defined, one line for each thing, as this server words it; see snapshot-content.sql.
-- What Postgres words otherwise after a restore (rules.worded…) is left out: how that behaves is asked for itself.
set role none; set default_transaction_read_only = off; set session_replication_role = replica; set standard_conforming_strings = on;
set statement_timeout = 0; set lock_timeout = 0; set search_path = pg_catalog; set client_encoding = 'UTF8';
set "DateStyle" = 'ISO'; set "IntervalStyle" = postgres; set "TimeZone" = 'UTC'; set bytea_output = hex; set quote_all_identifiers = off; set default_transaction_isolation = 'read committed';

create function pg_temp.ours(namespace oid) returns bool language sql as
  $$ select $1 not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace, pg_my_temp_schema()) $$;
create function pg_temp.sorted(options text[]) returns json language sql as 'select json_agg(o order by o) from unnest($1) o';
create temporary view ours as select c.*, c.oid::regclass::text collate "C" as named from pg_class c
  where pg_temp.ours(relnamespace) and not c.oid::regclass::text ~ 'worded';

select format('relation %s: ', named) || json_build_array(relkind, relpersistence, reloptions, relrowsecurity, relforcerowsecurity, relreplident,
  relispartition, (select amname from pg_am where oid = relam), pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid), reloftype::regtype,
  (select reloptions from pg_class t where t.oid = c.reltoastrelid),
  (select json_agg(inhparent::regclass order by inhseqno) from pg_inherits where inhrelid = c.oid)) from ours c;
select format('columns of %s: ', named) || (select json_agg(json_build_array(attname, format_type(atttypid, atttypmod), attnotnull,
  pg_get_expr(adbin, adrelid), attidentity, attgenerated, attcollation::regcollation, attstorage, attcompression, nullif(attstattarget, -1),
  (select json_agg(o order by o) from unnest(attoptions) o where o !~ '^pg_attver='),
  attfdwoptions, attislocal, attinhcount) order by attnum) from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
  where attrelid = ours.oid and attnum > 0 and not attisdropped) from ours where relkind in ('r', 'p', 'v', 'm', 'f', 'c');
select format('view %s: ', named) || to_json(pg_get_viewdef(oid)) from ours where relkind in ('v', 'm');
select format('index %s: ', named) || json_build_array(pg_get_indexdef(oid), indisclustered, indisvalid, indisreplident, indnullsnotdistinct,
  (select json_agg(attstattarget order by attnum) from pg_attribute where attrelid = oid and attstattarget >= 0))
  from ours join pg_index on indexrelid = oid;
select format('sequence %s: ', named) || json_build_array(seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle,
  (select json_agg(json_build_array(refobjid::regclass, refobjsubid, deptype)) from pg_depend d where d.objid = ours.oid and refclassid = 'pg_class'::regclass))
  from ours join pg_sequence on seqrelid = oid;
select format('constraint %I of %s: ', conname, coalesce(named, contypid::regtype::text)) || json_build_array(pg_get_constraintdef(c.oid), contype,
  convalidated, condeferrable, condeferred, connoinherit and contype = 'c', conislocal, confmatchtype)
  from pg_constraint c left join ours on ours.oid = conrelid where (ours.oid is not null or contypid <> 0) and pg_temp.ours(connamespace)
 ;
select format('trigger %I of %s: ', tgname, named) || json_build_array(pg_get_triggerdef(t.oid), tgenabled)
  from pg_trigger t join ours on ours.oid = tgrelid where not tgisinternal;
select format('inner triggers of %s: ', named) || json_agg(json_build_array(tgfoid::regproc, tgtype, tgenabled) order by tgfoid::regproc::text, tgtype, tgenabled)
  from pg_trigger t join ours on ours.oid = tgrelid where tgisinternal group by named;
select format('rule %I of %s: ', rulename, named) || json_build_array(pg_get_ruledef(r.oid), ev_enabled)
  from pg_rewrite r join ours on ours.oid = ev_class where rulename <> '_RETURN';
select format('policy %I of %I.%I: ', policyname, schemaname, tablename) || to_json(p) from pg_policies p where tablename !~ 'worded';
select format('function %s: ', oid::regprocedure) || to_json(pg_get_functiondef(oid)) from pg_proc
  where pg_temp.ours(pronamespace) and prokind <> 'a' and proname !~ 'worded';
select format('aggregate %s: ', aggfnoid::regprocedure) || (to_jsonb(a) || jsonb_build_object('aggtranstype', aggtranstype::regtype, 'aggmtranstype',
  aggmtranstype::regtype, 'aggsortop', aggsortop::regoper)) from pg_aggregate a join pg_proc p on p.oid = aggfnoid where pg_temp.ours(pronamespace);
select format('type %s: ', oid::regtype) || json_build_array(typtype, typcategory, typbasetype::regtype, typtypmod, typnotnull, typdefault, typcollation::regcollation,
  typisdefined, (select json_build_array(rngsubtype::regtype, rngmultitypid::regtype, rngcollation::regcollation, rngsubdiff) from pg_range where rngtypid = t.oid))
  from pg_type t where pg_temp.ours(typnamespace);
select format('operator %s: ', oid::regoperator) || json_build_array(oprcanmerge, oprcanhash, oprcom::regoperator, oprnegate::regoperator, oprcode, oprrest, oprjoin)
  from pg_operator where pg_temp.ours(oprnamespace);
select format('operator class %s.%I: ', opcnamespace::regnamespace, opcname) || json_build_array(opcintype::regtype, opcdefault, opfname,
  (select json_agg(json_build_array(amopopr::regoperator, amopstrategy) order by amopstrategy, amopopr::regoperator::text) from pg_amop where amopfamily = f.oid),
  (select json_agg(json_build_array(amproc::regprocedure, amprocnum) order by amprocnum, amproc::text) from pg_amproc where amprocfamily = f.oid))
  from pg_opclass join pg_opfamily f on f.oid = opcfamily where pg_temp.ours(opcnamespace);
select format('cast of %s to %s: ', castsource::regtype, casttarget::regtype) || json_build_array(castfunc::regprocedure, castcontext, castmethod)
  from pg_cast where oid >= 16384;
select format('collation %s: ', oid::regcollation) || (to_jsonb(c) - 'oid' - 'collnamespace' - 'collowner' - 'collversion') from pg_collation c
  where pg_temp.ours(collnamespace);
select format('conversion %I: ', conname) || json_build_array(conforencoding, contoencoding, conproc) from pg_conversion where pg_temp.ours(connamespace);
select format('dictionary %I: ', dictname) || to_json(dictinitoption) from pg_ts_dict where pg_temp.ours(dictnamespace);
select format('search %I: ', cfgname) || (select json_agg(json_build_array(maptokentype, mapseqno, mapdict::regdictionary) order by maptokentype, mapseqno)
  from pg_ts_config_map where mapcfg = c.oid) from pg_ts_config c where pg_temp.ours(cfgnamespace);
select format('server %I: ', srvname) || json_build_array(srvtype, srvversion, pg_temp.sorted(srvoptions), fdwname, fdwoptions) from pg_foreign_server
  join pg_foreign_data_wrapper f on f.oid = srvfdw;
select format('user mapping of %s for %s: ', srvname, usename) || to_json(pg_temp.sorted(umoptions)) from pg_user_mappings;
select format('foreign table %s: ', ftrelid::regclass) || to_json(pg_temp.sorted(ftoptions)) from pg_foreign_table;
select format('access method %I: ', amname) || json_build_array(amhandler, amtype) from pg_am where oid >= 16384;
select format('statistics %I: ', stxname) || json_build_array(pg_get_statisticsobjdef(oid), stxstattarget) from pg_statistic_ext;
select format('event trigger %I: ', evtname) || json_build_array(evtevent, evtfoid::regprocedure, evtenabled, evttags, pg_get_userbyid(evtowner)) from pg_event_trigger;
select format('publication %I: ', pubname) || (to_jsonb(p) - 'oid' - 'pubowner' || jsonb_build_object('tables', (select json_agg(t order by t::text)
  from pg_publication_tables t where t.pubname = p.pubname and tablename !~ 'worded'))) from pg_publication p;
select format('subscription %I: ', subname) || (to_jsonb(s) - array['oid', 'subdbid', 'subowner']) from pg_subscription s
  join pg_database d on d.oid = subdbid where datname = current_database();

-- The database itself.
select format('database %s: ', datname) || (to_jsonb(d) - array['oid', 'dattablespace', 'datfrozenxid', 'datminmxid', 'datacl'] || jsonb_build_object('owner', datdba::regrole,
  'rights', (select jsonb_agg(a order by a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type) from aclexplode(datacl) a), 'comment', shobj_description(oid, 'pg_database')))
  from pg_database d where datname = current_database();
select format('settings of %s: ', case setrole when 0 then 'all' else setrole::regrole::text end) || to_json(setconfig) from pg_db_role_setting
  join pg_database d on d.oid = setdatabase where datname = current_database();
