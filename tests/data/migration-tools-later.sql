-- Takes the tables of migration-tools.sql to state B, the way each tool does it. A line of JSON says what happened in
-- each schema between the states; what it does not name is empty.

-- {"schema": "rails", "applied": ["20260301101500"], "undone": []}
INSERT INTO rails.schema_migrations (version) VALUES ('20260301101500');

-- {"schema": "dbmate", "applied": [], "undone": ["20260110120500"]}
delete from dbmate.schema_migrations where version = '20260110120500';

-- {"schema": "dbmate_128", "applied": ["20260301101500"], "undone": []}
insert into dbmate_128.schema_migrations (version) values ('20260301101500');

-- {"schema": "dbmate_255", "applied": [], "undone": []}

-- {"schema": "ecto", "applied": ["20260105090000", "20260301101500"], "undone": []}
INSERT INTO ecto.schema_migrations VALUES (20260105090000, '2026-03-01 11:00:00'), (20260301101500, '2026-03-01 11:00:00');

-- {"schema": "golang_migrate", "applied": [], "undone": [], "moved": {"from": "20260110120500", "to": "20260301101500"}}
TRUNCATE "golang_migrate"."schema_migrations";
INSERT INTO "golang_migrate"."schema_migrations" (version, dirty) VALUES (20260301101500, false);

-- {"schema": "golang_migrate_dirty", "applied": [], "undone": [], "failed": ["3"], "moved": {"from": "2", "to": "3"}}
TRUNCATE "golang_migrate_dirty"."schema_migrations";
INSERT INTO "golang_migrate_dirty"."schema_migrations" (version, dirty) VALUES (3, true);

-- {"schema": "sequel", "applied": ["20260301101500_add_price.rb"], "undone": []}
INSERT INTO sequel."schema_migrations" ("filename") VALUES ('20260301101500_add_price.rb');

-- {"schema": "migratus", "applied": ["20260301101500 add-price"], "undone": []}
INSERT INTO migratus.schema_migrations VALUES (20260301101500, '2026-03-01 11:00:00', 'add-price');

-- {"schema": "supabase_migrations", "applied": ["20260301101500 add_price"], "undone": []}
INSERT INTO supabase_migrations.schema_migrations VALUES ('20260301101500', '{"alter table cows add price int"}', 'add_price');

-- {"schema": "django", "applied": ["commons.0012_add_milk", "sales.0001_initial"], "undone": []}
INSERT INTO django.django_migrations (app, name, applied) VALUES ('commons', '0012_add_milk', '2026-03-01 11:00:00.1+00'), ('sales', '0001_initial', '2026-03-01 11:00:00.2+00');

-- {"schema": "alembic", "applied": [], "undone": [], "moved": {"from": "1975ea83b712", "to": "ae1027a6acf0"}}
UPDATE alembic.alembic_version SET version_num='ae1027a6acf0' WHERE alembic_version.version_num = '1975ea83b712';

-- {"schema": "alembic_heads", "applied": [], "undone": [], "moved": {"from": "27c6a30d7c24, ae1027a6acf", "to": "53fffde5ad5"}}
DELETE FROM alembic_heads.alembic_version WHERE alembic_version.version_num = 'ae1027a6acf';
UPDATE alembic_heads.alembic_version SET version_num='53fffde5ad5' WHERE alembic_version.version_num = '27c6a30d7c24';

-- {"schema": "aerich", "applied": ["models.2_20260301101500_add_price.py"], "undone": []}
INSERT INTO aerich.aerich (version, app, content) VALUES ('2_20260301101500_add_price.py', 'models', '{}');

-- {"schema": "yoyo", "applied": [], "undone": ["20260110_02_9hGkQ-add-milk"]}
DELETE FROM yoyo._yoyo_migration WHERE migration_hash = '7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730';

-- {"schema": "liquibase", "applied": ["changes/012-milk.yaml::12::anna"], "undone": []}
INSERT INTO liquibase.databasechangelog VALUES ('12', 'anna', 'changes/012-milk.yaml', '2026-03-01 11:00:00.2', 3, 'EXECUTED', '9:aa3b2f1a7c5e4b6d8f9a0b1c2d3e4f5a', 'addColumn tableName=cows', '', NULL, '4.29.2', NULL, NULL, '2362800034');

-- {"schema": "liquibase_upper", "applied": [], "undone": ["changes/012-milk.yaml::12::anna"]}
DELETE FROM liquibase_upper."DATABASECHANGELOG" WHERE "ID" = '12' AND "AUTHOR" = 'anna' AND "FILENAME" = 'changes/012-milk.yaml';

-- A repeatable migration that ran again was applied again. The failed one ran outside a transaction, else it left no row.
-- {"schema": "flyway", "applied": ["V3__add_milk.sql", "R__milk_view.sql"], "undone": [], "failed": ["V4__index_milk.sql"]}
INSERT INTO flyway.flyway_schema_history VALUES
  (4, '3', 'add milk', 'SQL', 'V3__add_milk.sql', 2079644856, 'postgres', '2026-03-01 11:00:00', 8, true),
  (5, NULL, 'milk view', 'SQL', 'R__milk_view.sql', -437622318, 'postgres', '2026-03-01 11:00:01', 3, true),
  (6, '4', 'index milk', 'SQL', 'V4__index_milk.sql', 79644856, 'postgres', '2026-03-01 11:00:02', 3, false);

-- {"schema": "flyway_undo", "applied": [], "undone": ["V10__add_milk.sql"]}
INSERT INTO flyway_undo.flyway_schema_history VALUES (4, '10', 'add milk', 'UNDO_SQL', 'U10__add_milk.sql', 79644856, 'postgres', '2026-03-01 11:00:00', 8, true);

-- {"schema": "flyway_old", "applied": ["V1_2__add_milk.sql"], "undone": []}
INSERT INTO flyway_old.schema_version VALUES (3, 3, '1.2', 'add milk', 'SQL', 'V1_2__add_milk.sql', 22566778, 'moo', '2026-03-01 11:00:00', 12, true);

-- {"schema": "play", "applied": [], "undone": [], "failed": ["11"]}
insert into play.play_evolutions values (11, '0716d9708d321ffb6a00818614779e779925365c', '2026-03-01 11:00:00', 'alter table cow add price int', '', 'applying_up', 'ERROR: relation "cow" does not exist');

-- {"schema": "ragtime", "applied": ["003-add-price"], "undone": []}
insert into ragtime.ragtime_migrations values ('003-add-price', '2026-03-01T11:00:00.000');

-- {"schema": "prisma", "applied": ["20260301101500_add_milk"], "undone": [], "failed": ["20260301102000_add_price"]}
INSERT INTO prisma._prisma_migrations VALUES
  ('2e9b6a4e-43a7-4f0e-8c5e-3a1f4f0d7b13', repeat('c3', 32), '2026-03-01 11:00:01.5+00', '20260301101500_add_milk', NULL, NULL, '2026-03-01 11:00:01.1+00', 1),
  ('3f9b6a4e-43a7-4f0e-8c5e-3a1f4f0d7b14', repeat('d4', 32), NULL, '20260301102000_add_price', E'A migration failed to apply.\nDatabase error code: 42P01', NULL, '2026-03-01 11:00:02.1+00', 0);

-- {"schema": "prisma_resolved", "applied": ["20260110120500_add_barn"], "undone": []}
UPDATE prisma_resolved._prisma_migrations SET rolled_back_at = '2026-01-12 08:00:00+00' WHERE id = '1d9b6a4e-43a7-4f0e-8c5e-3a1f4f0d7b12';
INSERT INTO prisma_resolved._prisma_migrations VALUES ('4a9b6a4e-43a7-4f0e-8c5e-3a1f4f0d7b15', repeat('e5', 32), '2026-01-12 08:01:00.5+00', '20260110120500_add_barn', NULL, NULL, '2026-01-12 08:01:00.1+00', 1);

-- {"schema": "knex", "applied": [], "undone": ["20260110120500_add_milk.js"]}
delete from knex.knex_migrations where name in ('20260110120500_add_milk.js');

-- {"schema": "adonis", "applied": ["database/migrations/1768046700000_add_milk_to_cows_table"], "undone": []}
insert into adonis.adonis_schema (name, batch) values ('database/migrations/1768046700000_add_milk_to_cows_table', 2);

-- {"schema": "sequelize", "applied": ["20260301101500-add-price.js"], "undone": ["20260110120500-add-milk.js"]}
DELETE FROM sequelize."SequelizeMeta" WHERE "name" = '20260110120500-add-milk.js';
INSERT INTO sequelize."SequelizeMeta" ("name") VALUES ('20260301101500-add-price.js');

-- {"schema": "typeorm", "applied": ["AddPrice1772360100000"], "undone": []}
INSERT INTO typeorm."migrations" ("timestamp", "name") VALUES (1772360100000, 'AddPrice1772360100000');

-- {"schema": "mikro_orm", "applied": ["Migration20260301101500"], "undone": []}
insert into mikro_orm.mikro_orm_migrations (name) values ('Migration20260301101500');

-- {"schema": "drizzle", "applied": ["1772360100000"], "undone": []}
insert into "drizzle"."__drizzle_migrations" ("hash", "created_at") values (repeat('e5', 32), 1772360100000);

-- {"schema": "kysely", "applied": ["20260301101500_add_price"], "undone": []}
insert into kysely.kysely_migration values ('20260301101500_add_price', '2026-03-01T11:00:00.123Z');

-- {"schema": "node_pg_migrate", "applied": ["1772360100000_add-price"], "undone": []}
INSERT INTO node_pg_migrate.pgmigrations (name, run_on) VALUES ('1772360100000_add-price', '2026-03-01 11:00:00');

-- {"schema": "db_migrate", "applied": ["/20260301101500-add-price"], "undone": []}
INSERT INTO db_migrate."migrations" ("name", "run_on") VALUES ('/20260301101500-add-price', '2026-03-01 11:00:00');

-- {"schema": "graphile_migrate", "applied": ["000003-add-price.sql"], "undone": []}
insert into graphile_migrate.migrations values ('sha1:77de68daecd823babbb58edb1c8e14d7106e83bb', 'sha1:da4b9237bacccdf19c0760cab7aec4a8359010b0', '000003-add-price.sql', '2026-03-01 11:00:00+00');

-- {"schema": "strapi", "applied": ["2026.03.01T10.15.00.add-price.js"], "undone": []}
insert into strapi.strapi_migrations (name, time) values ('2026.03.01T10.15.00.add-price.js', '2026-03-01 11:00:00');

-- {"schema": "directus", "applied": ["20260110A Add Milk"], "undone": []}
insert into directus.directus_migrations values ('20260110A', 'Add Milk', '2026-03-01 11:00:00+00');

-- {"schema": "payload", "applied": ["20260301_101500"], "undone": []}
INSERT INTO payload.payload_migrations (name, batch, created_at) VALUES ('20260301_101500', 2, '2026-03-01 11:00:00+00');

-- {"schema": "laravel", "applied": [], "undone": ["2026_01_10_120500_add_milk_to_cows_table"]}
delete from laravel.migrations where migration = '2026_01_10_120500_add_milk_to_cows_table';

-- {"schema": "phinx", "applied": ["20260105090000 AddBarn"], "undone": []}
INSERT INTO phinx.phinxlog VALUES (20260105090000, 'AddBarn', '2026-03-01 11:00:00', '2026-03-01 11:00:00', false);

-- {"schema": "doctrine", "applied": ["DoctrineMigrations\\Version20260301101500"], "undone": []}
INSERT INTO doctrine.doctrine_migration_versions VALUES ('DoctrineMigrations\Version20260301101500', '2026-03-01 11:00:00', 5);

-- {"schema": "doctrine_old", "applied": ["20260301101500"], "undone": []}
INSERT INTO doctrine_old.migration_versions VALUES ('20260301101500', '2026-03-01 11:00:00');

-- {"schema": "diesel", "applied": ["20260301101500"], "undone": []}
INSERT INTO diesel.__diesel_schema_migrations (version) VALUES ('20260301101500');

-- {"schema": "sqlx", "applied": ["20260301101500 add price"], "undone": [], "failed": ["20260301102000 index price"]}
INSERT INTO sqlx._sqlx_migrations VALUES (20260301101500, 'add price', '2026-03-01 11:00:00+00', true, '\x0e0f', -1), (20260301102000, 'index price', '2026-03-01 11:00:01+00', false, '\x0e0f', -1);

-- {"schema": "refinery", "applied": ["V3__add_price"], "undone": []}
INSERT INTO refinery.refinery_schema_history VALUES (3, 'add_price', '2026-03-01T11:00:00.123456Z', '7034183206103263838');

-- {"schema": "seaorm", "applied": [], "undone": ["m20260110_120500_add_milk"]}
DELETE FROM seaorm.seaql_migrations WHERE version = 'm20260110_120500_add_milk';

-- {"schema": "goose", "applied": ["3"], "undone": ["2"]}
DELETE FROM goose.goose_db_version WHERE version_id=2;
INSERT INTO goose.goose_db_version (version_id, is_applied) VALUES (3, true);

-- {"schema": "goose_old", "applied": [], "undone": ["20260110120500"]}
INSERT INTO goose_old.goose_db_version (version_id, is_applied) VALUES (20260110120500, false);

-- {"schema": "sql_migrate", "applied": ["20260301101500-add_price.sql"], "undone": []}
insert into sql_migrate.gorp_migrations values ('20260301101500-add_price.sql', '2026-03-01 11:00:00+00');

-- {"schema": "bun", "applied": ["20260301101500"], "undone": []}
INSERT INTO bun.bun_migrations (name, group_id) VALUES ('20260301101500', 2);

-- {"schema": "atlas_schema_revisions", "applied": ["20260301101500 add_price"], "undone": [], "failed": ["20260301102000 index_price"]}
INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES
  ('20260301101500', 'add_price', 2, 1, 1, '2026-03-01 11:00:00+00', 4200000, NULL, NULL, 'h1:7VSQx6DCRUiQXKNWyBvNxHk3TDVYKA5RbJTkLs0YPTI=', 'null', 'Atlas CLI v0.32.0'),
  ('20260301102000', 'index_price', 2, 1, 2, '2026-03-01 11:00:01+00', 4200000, 'pq: relation "cow" does not exist', 'CREATE INDEX ON cow (price)', 'h1:8VSQx6DCRUiQXKNWyBvNxHk3TDVYKA5RbJTkLs0YPTI=', '["h1:x"]', 'Atlas CLI v0.32.0');

-- {"schema": "ef_core", "applied": ["20260301101500_AddPrice"], "undone": ["20260110120500_AddMilk"]}
DELETE FROM ef_core."__EFMigrationsHistory" WHERE "MigrationId" = '20260110120500_AddMilk';
INSERT INTO ef_core."__EFMigrationsHistory" VALUES ('20260301101500_AddPrice', '10.0.1');

-- {"schema": "ef_core_snake", "applied": ["20260301101500_AddPrice"], "undone": []}
INSERT INTO ef_core_snake."__EFMigrationsHistory" VALUES ('20260301101500_AddPrice', '10.0.1');

-- {"schema": "fluentmigrator", "applied": ["20260301 AddPrice"], "undone": []}
INSERT INTO fluentmigrator."VersionInfo" VALUES (20260301, '2026-03-01 11:00:00', 'AddPrice');

-- {"schema": "dbup", "applied": ["Barn.Scripts.0003_AddPrice.sql"], "undone": []}
INSERT INTO dbup.schemaversions (scriptname, applied) VALUES ('Barn.Scripts.0003_AddPrice.sql', '2026-03-01 11:00:00');

-- {"schema": "fluent", "applied": [], "undone": ["App.AddMilk"]}
DELETE FROM fluent._fluent_migrations WHERE name = 'App.AddMilk';

-- A reworked change is deployed under the name that it had before.
-- {"schema": "sqitch", "applied": ["barn:price", "barn:milk"], "undone": []}
INSERT INTO sqitch.changes (change_id, script_hash, change, project, committed_at, committer_name, committer_email, planned_at, planner_name, planner_email) VALUES
  ('370be5dbc38c257234f817f7bd1f3cf2afb3ddae', '3333e47f5f99501fb8d481e910d9112c5ac0a676', 'price', 'barn', '2026-03-01 11:00:00+00', 'Anna', 'anna@example.org', '2026-03-01 10:15:00+00', 'Anna', 'anna@example.org'),
  ('480be5dbc38c257234f817f7bd1f3cf2afb3ddae', '4444e47f5f99501fb8d481e910d9112c5ac0a676', 'milk', 'barn', '2026-03-01 11:00:01+00', 'Anna', 'anna@example.org', '2026-03-01 10:20:00+00', 'Anna', 'anna@example.org');

-- {"schema": "decoy", "applied": [], "undone": []}
insert into decoy.migrations (herd, name, from_barn, to_barn, moved_on) values ('black', 'autumn', 2, 1, '2026-09-20');
update decoy.schema_version set version = 8;
