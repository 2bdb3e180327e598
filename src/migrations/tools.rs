//! The migration tools: one entry each. What an entry's parts mean stands at `Tool`.

use super::{Columns, Is, Row, Sign, Tool};

const PLAIN: Tool = Tool {
    name: "",
    tables: &[],
    columns: Columns::With(&[]),
    sign: Sign::None,
    heads_only: false,
    label: "{name}",
    key: "",
    order: &["id"],
    rules: &[],
    files: &[],
};

/// A boolean is `t` or `f` in COPY's text.
const FAILED_UNLESS_SUCCESS: (&str, Is, Row) = ("success", Is::Equal("f"), Row::Failed);

const RUBY: &str = "db/*migrate/**/*.rb";
const SQL: &str = "*migrations/*.sql";
const UP_SQL: &str = "*.up.sql";
const DOWN_SQL: &str = "*.down.sql";

/// Folders of tools whose migrations are JavaScript or TypeScript; the names of the files are the users' own.
const NODE: &[&str] = &[
    "*migration/*.js",
    "*migration/*.ts",
    "*migrations/*.js",
    "*migrations/*.ts",
    "*migrations/*.cjs",
    "*migrations/*.mjs",
    "*migrations/*.mts",
    "*migrations/*.sql",
];

/// All tools, the first that fits first.
pub static TOOLS: &[Tool] = &[
    Tool {
        name: "Rails",
        tables: &["*schema_migrations"],
        columns: Columns::Only(&["version"]),
        // Rails has it since version 5. The definitions are the same: newer dbmates' version has no length either.
        sign: Sign::Neighbour("*ar_internal_metadata"),
        label: "{version}",
        order: &[],
        files: &[RUBY],
        ..PLAIN
    },
    Tool {
        name: "dbmate",
        tables: &["*schema_migrations"],
        columns: Columns::Only(&["version"]),
        sign: Sign::Definition("version character varying(128)"),
        label: "{version}",
        order: &[],
        files: &[SQL],
        ..PLAIN
    },
    Tool {
        name: "Rails or dbmate",
        tables: &["*schema_migrations"],
        columns: Columns::Only(&["version"]),
        label: "{version}",
        order: &[],
        files: &[RUBY, SQL],
        ..PLAIN
    },
    Tool {
        name: "Ecto",
        tables: &["*schema_migrations"],
        columns: Columns::Only(&["version", "inserted_at"]),
        label: "{version}",
        order: &["inserted_at", "version"],
        files: &["priv/*/*migrations/**/*.exs"],
        ..PLAIN
    },
    Tool {
        name: "golang-migrate",
        tables: &["*migrations*"],
        columns: Columns::Only(&["version", "dirty"]),
        heads_only: true,
        label: "{version}",
        rules: &[("dirty", Is::Equal("t"), Row::Failed)],
        files: &[UP_SQL, DOWN_SQL],
        ..PLAIN
    },
    Tool {
        name: "Sequel",
        tables: &["*schema_migrations"],
        columns: Columns::Only(&["filename"]),
        label: "{filename}",
        order: &[],
        files: &["*migrations/*.rb", "db/migrate/*.rb"],
        ..PLAIN
    },
    Tool {
        name: "Migratus",
        tables: &["*migrations"],
        columns: Columns::Only(&["id", "applied", "description"]),
        label: "{id} {description}",
        order: &["applied", "id"],
        // Its lock is a row.
        rules: &[("id", Is::Equal("-1"), Row::NoMigration)],
        files: &[UP_SQL, DOWN_SQL],
        ..PLAIN
    },
    Tool {
        name: "Supabase",
        tables: &["schema_migrations"],
        columns: Columns::With(&["version", "statements", "name"]),
        label: "{version} {name}",
        order: &["version"],
        files: &["supabase/migrations/*.sql"],
        ..PLAIN
    },
    Tool {
        name: "Django",
        tables: &["django_migrations"],
        columns: Columns::With(&["app", "name", "applied"]),
        label: "{app}.{name}",
        files: &["*/migrations/*.py"],
        ..PLAIN
    },
    Tool {
        name: "Alembic",
        tables: &["*alembic_version*"],
        columns: Columns::Only(&["version_num"]),
        heads_only: true,
        label: "{version_num}",
        files: &[
            "*alembic*/versions/**/*.py",
            "*migrations/versions/**/*.py",
            "*alembic*/*_versions/**/*.py",
        ],
        ..PLAIN
    },
    Tool {
        name: "Aerich",
        tables: &["aerich"],
        columns: Columns::With(&["version", "app", "content"]),
        label: "{app}.{version}",
        files: &["migrations/*/*.py"],
        ..PLAIN
    },
    Tool {
        name: "Yoyo",
        tables: &["_yoyo_migration"],
        columns: Columns::With(&["migration_hash", "migration_id", "applied_at_utc"]),
        label: "{migration_id}",
        order: &["applied_at_utc", "migration_id"],
        files: &["*migrations/*.py", SQL],
        ..PLAIN
    },
    Tool {
        name: "Liquibase",
        tables: &["*databasechangelog"],
        columns: Columns::With(&["id", "author", "filename", "orderexecuted", "exectype"]),
        label: "{filename}::{id}::{author}",
        order: &["orderexecuted", "dateexecuted"],
        rules: &[
            ("exectype", Is::Equal("FAILED"), Row::Failed),
            ("exectype", Is::Equal("SKIPPED"), Row::NoMigration),
        ],
        files: &[
            "db/changelog/**/*.*",
            "*changelogs/**/*.*",
            "liquibase/**/*.*",
            "db.changelog*.*",
            "*changelog*.xml",
        ],
        ..PLAIN
    },
    Tool {
        name: "Flyway",
        tables: &["*flyway_schema_history*", "*schema_version*", "*schema_history*"],
        columns: Columns::With(&["installed_rank", "version", "description", "type", "script", "success"]),
        label: "{script}",
        // An undo is a row of the same version. A repeatable migration has none: each of its runs is one of its own.
        key: "{version|installed_on}",
        order: &["installed_rank"],
        rules: &[
            ("type", Is::Equal("SCHEMA"), Row::NoMigration),
            FAILED_UNLESS_SUCCESS,
            ("type", Is::Equal("DELETE"), Row::Undone),
            ("type", Is::Beginning("UNDO"), Row::Undone),
        ],
        files: &[
            "db/migration*/**/*.sql",
            "V#*__*.sql",
            "U#*__*.sql",
            "B#*__*.sql",
            "R__*.sql",
            "V#*__*.java",
            "V#*__*.kt",
        ],
        ..PLAIN
    },
    Tool {
        name: "Play evolutions",
        tables: &["play_evolutions*"],
        columns: Columns::With(&["id", "hash", "applied_at", "state"]),
        label: "{id}",
        rules: &[("state", Is::Beginning("applying"), Row::Failed)],
        files: &["evolutions/*/#*.sql"],
        ..PLAIN
    },
    Tool {
        name: "Ragtime",
        tables: &["ragtime_migrations"],
        columns: Columns::With(&["id", "created_at"]),
        label: "{id}",
        order: &["created_at", "id"],
        files: &["*migrations/*.edn", UP_SQL, DOWN_SQL],
        ..PLAIN
    },
    Tool {
        name: "Prisma",
        tables: &["_prisma_migrations"],
        columns: Columns::With(&["migration_name", "finished_at", "rolled_back_at"]),
        label: "{migration_name}",
        order: &["started_at"],
        rules: &[("rolled_back_at", Is::Set, Row::Undone), ("finished_at", Is::Null, Row::Failed)],
        files: &["*migrations/*/migration.sql"],
        ..PLAIN
    },
    Tool {
        name: "Knex",
        tables: &["*knex_migrations*", "*migrations"],
        columns: Columns::Only(&["id", "name", "batch", "migration_time"]),
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "AdonisJS",
        tables: &["adonis_schema"],
        columns: Columns::With(&["name", "batch", "migration_time"]),
        files: &["database/migrations/*.ts", "database/migrations/*.js"],
        ..PLAIN
    },
    Tool {
        name: "Sequelize",
        tables: &["*SequelizeMeta", "SequelizeData"],
        columns: Columns::With(&["name"]),
        order: &[],
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "TypeORM",
        tables: &["*migration", "*migrations", "migrations*"],
        columns: Columns::Only(&["id", "timestamp", "name"]),
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "MikroORM",
        tables: &["*mikro_orm_migrations*"],
        columns: Columns::With(&["name", "executed_at"]),
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "Drizzle",
        tables: &["*drizzle_migrations*"],
        columns: Columns::With(&["hash", "created_at"]),
        // Its older tables have no names. This number is "when" in the journal, where the name stands.
        label: "{name|created_at}",
        files: &["*drizzle*/**/*.sql", SQL, "*migrations/*/migration.sql"],
        ..PLAIN
    },
    Tool {
        name: "Kysely",
        tables: &["*kysely_migration"],
        columns: Columns::With(&["name", "timestamp"]),
        order: &["timestamp", "name"],
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "node-pg-migrate",
        tables: &["*pgmigrations"],
        columns: Columns::With(&["name", "run_on"]),
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "db-migrate",
        tables: &["migrations"],
        columns: Columns::Only(&["id", "name", "run_on"]),
        files: &["*migrations/*.js", "*migrations/sqls/*.sql"],
        ..PLAIN
    },
    Tool {
        name: "graphile-migrate",
        tables: &["migrations"],
        columns: Columns::Only(&["hash", "previous_hash", "filename", "date"]),
        label: "{filename}",
        order: &["date", "filename"],
        files: &["*migrations/committed/*.sql"],
        ..PLAIN
    },
    Tool {
        name: "Strapi",
        tables: &["strapi_migrations*"],
        columns: Columns::With(&["name", "time"]),
        files: &["database/migrations/*.js", "database/migrations/*.ts"],
        ..PLAIN
    },
    Tool {
        name: "Directus",
        tables: &["directus_migrations"],
        columns: Columns::With(&["version", "name", "timestamp"]),
        label: "{version} {name}",
        order: &["timestamp", "version"],
        files: &["extensions/migrations/*.js"],
        ..PLAIN
    },
    Tool {
        name: "Payload",
        tables: &["payload_migrations"],
        columns: Columns::With(&["name", "batch"]),
        order: &["created_at", "name"],
        // A developer's push of the schema, without a migration.
        rules: &[("batch", Is::Equal("-1"), Row::NoMigration)],
        files: NODE,
        ..PLAIN
    },
    Tool {
        name: "Laravel",
        tables: &["*migrations"],
        columns: Columns::Only(&["id", "migration", "batch"]),
        label: "{migration}",
        files: &["database/migrations/**/*.php"],
        ..PLAIN
    },
    Tool {
        name: "Phinx",
        tables: &["*phinxlog", "cake_migrations"],
        columns: Columns::With(&["version", "migration_name", "start_time"]),
        label: "{version} {migration_name}",
        order: &["start_time", "version"],
        files: &["*migrations/#*.php", "config/Migrations/#*.php"],
        ..PLAIN
    },
    Tool {
        name: "Doctrine",
        tables: &["*migration_versions"],
        columns: Columns::With(&["version", "executed_at", "execution_time"]),
        label: "{version}",
        order: &["executed_at", "version"],
        files: &["Version#*.php"],
        ..PLAIN
    },
    Tool {
        name: "Doctrine",
        tables: &["*migration_versions"],
        columns: Columns::Only(&["version", "executed_at"]),
        label: "{version}",
        order: &["executed_at", "version"],
        files: &["Version#*.php"],
        ..PLAIN
    },
    Tool {
        name: "Diesel",
        tables: &["*diesel_schema_migrations"],
        columns: Columns::With(&["version", "run_on"]),
        label: "{version}",
        order: &["run_on", "version"],
        files: &["*migrations/*/up.sql", "*migrations/*/down.sql"],
        ..PLAIN
    },
    Tool {
        name: "sqlx",
        tables: &["*sqlx_migrations*"],
        columns: Columns::With(&["version", "description", "success", "checksum"]),
        label: "{version} {description}",
        order: &["installed_on", "version"],
        rules: &[FAILED_UNLESS_SUCCESS],
        files: &[SQL],
        ..PLAIN
    },
    Tool {
        name: "refinery",
        tables: &["*refinery_schema_history"],
        columns: Columns::With(&["version", "name", "applied_on", "checksum"]),
        label: "V{version}__{name}",
        order: &["version"],
        files: &["*migrations/V#*__*.*", "*migrations/U#*__*.*"],
        ..PLAIN
    },
    Tool {
        name: "SeaORM",
        tables: &["*seaql_migrations*"],
        columns: Columns::With(&["version", "applied_at"]),
        label: "{version}",
        order: &["applied_at", "version"],
        files: &["*migration*/src/**/m#*.rs"],
        ..PLAIN
    },
    Tool {
        name: "goose",
        tables: &["*goose*", "*migrations*"],
        columns: Columns::With(&["version_id", "is_applied", "tstamp"]),
        label: "{version_id}",
        // Old ones write a row for going down, too; newer ones delete the one that went up.
        rules: &[
            ("version_id", Is::Equal("0"), Row::NoMigration),
            ("is_applied", Is::Equal("f"), Row::Undone),
        ],
        files: &[SQL, "*migrations/#*_*.go"],
        ..PLAIN
    },
    Tool {
        name: "sql-migrate",
        tables: &["gorp_migrations"],
        columns: Columns::With(&["id", "applied_at"]),
        label: "{id}",
        order: &["applied_at", "id"],
        files: &[SQL],
        ..PLAIN
    },
    Tool {
        name: "Bun",
        tables: &["*bun_migrations"],
        columns: Columns::With(&["name", "group_id", "migrated_at"]),
        files: &["*migrations/#*.go", UP_SQL, DOWN_SQL],
        ..PLAIN
    },
    Tool {
        name: "Atlas",
        tables: &["*atlas_schema_revisions"],
        columns: Columns::With(&["version", "description", "applied", "total", "error"]),
        label: "{version} {description}",
        order: &["executed_at", "version"],
        // What begins with a dot is its own.
        rules: &[("version", Is::Beginning("."), Row::NoMigration), ("error", Is::Set, Row::Failed)],
        files: &[SQL, "*migrations/atlas.sum"],
        ..PLAIN
    },
    Tool {
        name: "EF Core",
        tables: &["*__EFMigrationsHistory*"],
        columns: Columns::With(&["MigrationId", "ProductVersion"]),
        label: "{migration_id}",
        order: &[],
        files: &["Migrations/**/*.cs", "*.Migrations/**/*.cs"],
        ..PLAIN
    },
    Tool {
        name: "FluentMigrator",
        tables: &["VersionInfo"],
        columns: Columns::With(&["Version", "AppliedOn", "Description"]),
        label: "{version} {description}",
        order: &["applied_on", "version"],
        files: &["Migrations/**/*.cs", "*.Migrations/**/*.cs"],
        ..PLAIN
    },
    Tool {
        name: "DbUp",
        tables: &["schemaversions"],
        columns: Columns::With(&["scriptname", "applied"]),
        label: "{scriptname}",
        order: &["schemaversionsid", "schemaversionid", "applied"],
        files: &["Scripts/**/*.sql", "Migrations/**/*.sql"],
        ..PLAIN
    },
    Tool {
        name: "Fluent",
        tables: &["_fluent_migrations"],
        columns: Columns::With(&["name", "batch", "created_at"]),
        order: &["batch", "created_at"],
        files: &["Migrations/**/*.swift"],
        ..PLAIN
    },
    Tool {
        name: "Sqitch",
        tables: &["changes"],
        columns: Columns::With(&["change_id", "change", "project", "committed_at", "planned_at"]),
        label: "{project}:{change}",
        // A reworked change has its name twice.
        key: "{change_id}",
        order: &["committed_at"],
        files: &["deploy/**/*.sql", "revert/**/*.sql", "sqitch.plan"],
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy_text;
    use crate::migrations::{History, Table, columns_needed, history, recognise};
    use std::collections::BTreeSet;

    /// A table as its tool makes it, and what COPY says of the columns that are needed. From a real server, which has
    /// run `tests/data/migration-tools.sql` and `tests/data/migration-tools-later.sql`.
    struct Case {
        table: &'static str,
        columns: &'static str,
        definition: &'static str,
        neighbours: &'static [&'static str],
        needed: &'static str,
        rows: &'static [&'static str],
        tool: &'static str,
        head: &'static str,
        applied: &'static [&'static str],
        failed: &'static [&'static str],
    }

    const CASE: Case = Case {
        table: "",
        columns: "",
        definition: "",
        neighbours: &[],
        needed: "",
        rows: &[],
        tool: "",
        head: "",
        applied: &[],
        failed: &[],
    };

    const CASES: &[Case] = &[
        Case {
            table: "adonis_schema",
            columns: "id name batch migration_time",
            needed: "id name",
            rows: &[
                "1\tdatabase/migrations/1767268800000_create_cows_table",
                "2\tdatabase/migrations/1768046700000_add_milk_to_cows_table",
            ],
            tool: "AdonisJS",
            applied: &[
                "database/migrations/1767268800000_create_cows_table",
                "database/migrations/1768046700000_add_milk_to_cows_table",
            ],
            head: "database/migrations/1768046700000_add_milk_to_cows_table",
            ..CASE
        },
        Case {
            table: "aerich",
            columns: "id version app content",
            needed: "id version app",
            rows: &[
                "1\t0_20260101120000_init.py\tmodels",
                "2\t1_20260110120500_add_milk.py\tmodels",
                "3\t2_20260301101500_add_price.py\tmodels",
            ],
            tool: "Aerich",
            applied: &[
                "models.0_20260101120000_init.py",
                "models.1_20260110120500_add_milk.py",
                "models.2_20260301101500_add_price.py",
            ],
            head: "models.2_20260301101500_add_price.py",
            ..CASE
        },
        Case {
            table: "alembic_version",
            columns: "version_num",
            needed: "version_num",
            rows: &["ae1027a6acf0"],
            tool: "Alembic",
            applied: &[],
            head: "ae1027a6acf0",
            ..CASE
        },
        Case {
            table: "alembic_version",
            columns: "version_num",
            needed: "version_num",
            rows: &["53fffde5ad5"],
            tool: "Alembic",
            applied: &[],
            head: "53fffde5ad5",
            ..CASE
        },
        Case {
            table: "atlas_schema_revisions",
            columns: "version description type applied total executed_at execution_time error error_stmt hash partial_hashes operator_version",
            needed: "version description executed_at error",
            rows: &[
                ".atlas_cloud_identifier\t0f3e1a52-9c1f-4f1c-8f8c-1b2a3c4d5e6f\t2026-01-11 08:00:00+00\t\\N",
                "20260101120000\tcreate_cows\t2026-01-11 08:00:01+00\t\\N",
                "20260110120500\tadd_milk\t2026-01-11 08:00:02+00\t",
                "20260301101500\tadd_price\t2026-03-01 11:00:00+00\t\\N",
                "20260301102000\tindex_price\t2026-03-01 11:00:01+00\tpq: relation \"cow\" does not exist",
            ],
            tool: "Atlas",
            applied: &["20260101120000 create_cows", "20260110120500 add_milk", "20260301101500 add_price"],
            failed: &["20260301102000 index_price"],
            head: "20260301101500 add_price",
            ..CASE
        },
        Case {
            table: "bun_migrations",
            columns: "id name group_id migrated_at",
            needed: "id name",
            rows: &["1\t20260101120000", "2\t20260110120500", "3\t20260301101500"],
            tool: "Bun",
            applied: &["20260101120000", "20260110120500", "20260301101500"],
            head: "20260301101500",
            ..CASE
        },
        Case {
            table: "migrations",
            columns: "id name run_on",
            needed: "id name",
            rows: &[
                "1\t/20260101120000-create-cows",
                "2\t/20260110120500-add-milk",
                "3\t/20260301101500-add-price",
            ],
            tool: "db-migrate",
            applied: &[
                "/20260101120000-create-cows",
                "/20260110120500-add-milk",
                "/20260301101500-add-price",
            ],
            head: "/20260301101500-add-price",
            ..CASE
        },
        Case {
            definition: "CREATE TABLE dbmate.schema_migrations (\n    version character varying NOT NULL\n);",
            table: "schema_migrations",
            columns: "version",
            needed: "version",
            rows: &["20260101120000"],
            tool: "Rails or dbmate",
            applied: &["20260101120000"],
            head: "20260101120000",
            ..CASE
        },
        Case {
            definition: "CREATE TABLE dbmate_128.schema_migrations (\n    version character varying(128) NOT NULL\n);",
            table: "schema_migrations",
            columns: "version",
            needed: "version",
            rows: &["20260101120000", "20260110120500", "20260301101500"],
            tool: "dbmate",
            applied: &["20260101120000", "20260110120500", "20260301101500"],
            head: "20260301101500",
            ..CASE
        },
        Case {
            definition: "CREATE TABLE dbmate_255.schema_migrations (\n    version character varying(255) NOT NULL\n);",
            table: "schema_migrations",
            columns: "version",
            needed: "version",
            rows: &["20190301120000"],
            tool: "Rails or dbmate",
            applied: &["20190301120000"],
            head: "20190301120000",
            ..CASE
        },
        Case {
            table: "schemaversions",
            columns: "schemaversionsid scriptname applied",
            needed: "schemaversionsid scriptname applied",
            rows: &[
                "1\tBarn.Scripts.0001_CreateCows.sql\t2026-01-11 08:00:01",
                "2\tBarn.Scripts.0002_AddMilk.sql\t2026-01-11 08:00:01",
                "3\tBarn.Scripts.0003_AddPrice.sql\t2026-03-01 11:00:00",
            ],
            tool: "DbUp",
            applied: &[
                "Barn.Scripts.0001_CreateCows.sql",
                "Barn.Scripts.0002_AddMilk.sql",
                "Barn.Scripts.0003_AddPrice.sql",
            ],
            head: "Barn.Scripts.0003_AddPrice.sql",
            ..CASE
        },
        Case {
            table: "__diesel_schema_migrations",
            columns: "version run_on",
            needed: "version run_on",
            rows: &[
                "00000000000000\t2026-11-23 15:38:40.966794",
                "20260110120500\t2026-11-23 15:38:40.966794",
                "20260301101500\t2026-11-23 15:38:41.808965",
            ],
            tool: "Diesel",
            applied: &["00000000000000", "20260110120500", "20260301101500"],
            head: "20260301101500",
            ..CASE
        },
        Case {
            table: "directus_migrations",
            columns: "version name timestamp",
            needed: "version name timestamp",
            rows: &[
                "20201028A\tRemove Collection Foreign Keys\t2026-01-11 08:00:01+00",
                "20201029A\tRemove System Relations\t2026-01-11 08:00:02+00",
                "20260110A\tAdd Milk\t2026-03-01 11:00:00+00",
            ],
            tool: "Directus",
            applied: &[
                "20201028A Remove Collection Foreign Keys",
                "20201029A Remove System Relations",
                "20260110A Add Milk",
            ],
            head: "20260110A Add Milk",
            ..CASE
        },
        Case {
            table: "django_migrations",
            columns: "id app name applied",
            needed: "id app name",
            rows: &[
                "1\tcontenttypes\t0001_initial",
                "2\tauth\t0001_initial",
                "3\tcommons\t0010_barn",
                "4\tcommons\t0011_cow_name",
                "5\tcommons\t0012_add_milk",
                "6\tsales\t0001_initial",
            ],
            tool: "Django",
            applied: &[
                "contenttypes.0001_initial",
                "auth.0001_initial",
                "commons.0010_barn",
                "commons.0011_cow_name",
                "commons.0012_add_milk",
                "sales.0001_initial",
            ],
            head: "sales.0001_initial",
            ..CASE
        },
        Case {
            table: "doctrine_migration_versions",
            columns: "version executed_at execution_time",
            needed: "version executed_at",
            rows: &[
                "DoctrineMigrations\\\\Version20260101120000\t2026-01-11 08:00:01",
                "DoctrineMigrations\\\\Version20260110120500\t2026-01-11 08:00:02",
                "DoctrineMigrations\\\\Version20260301101500\t2026-03-01 11:00:00",
            ],
            tool: "Doctrine",
            applied: &[
                "DoctrineMigrations\\Version20260101120000",
                "DoctrineMigrations\\Version20260110120500",
                "DoctrineMigrations\\Version20260301101500",
            ],
            head: "DoctrineMigrations\\Version20260301101500",
            ..CASE
        },
        Case {
            table: "migration_versions",
            columns: "version executed_at",
            needed: "version executed_at",
            rows: &["20180110120500\t2018-01-11 08:00:02", "20260301101500\t2026-03-01 11:00:00"],
            tool: "Doctrine",
            applied: &["20180110120500", "20260301101500"],
            head: "20260301101500",
            ..CASE
        },
        Case {
            table: "__drizzle_migrations",
            columns: "id hash created_at",
            needed: "id created_at",
            rows: &["1\t1767268800000", "2\t1768046700000", "3\t1772360100000"],
            tool: "Drizzle",
            applied: &["1767268800000", "1768046700000", "1772360100000"],
            head: "1772360100000",
            ..CASE
        },
        Case {
            table: "schema_migrations",
            columns: "version inserted_at",
            needed: "version inserted_at",
            rows: &[
                "20260101120000\t2026-01-11 08:00:01",
                "20260110120500\t2026-01-11 08:00:01",
                "20260105090000\t2026-03-01 11:00:00",
                "20260301101500\t2026-03-01 11:00:00",
            ],
            tool: "Ecto",
            applied: &["20260101120000", "20260110120500", "20260105090000", "20260301101500"],
            head: "20260301101500",
            ..CASE
        },
        Case {
            table: "__EFMigrationsHistory",
            columns: "MigrationId ProductVersion",
            needed: "MigrationId",
            rows: &["20260101120000_CreateCows", "20260301101500_AddPrice"],
            tool: "EF Core",
            applied: &["20260101120000_CreateCows", "20260301101500_AddPrice"],
            head: "20260301101500_AddPrice",
            ..CASE
        },
        Case {
            table: "__EFMigrationsHistory",
            columns: "migration_id product_version",
            needed: "migration_id",
            rows: &["20260101120000_CreateCows", "20260301101500_AddPrice"],
            tool: "EF Core",
            applied: &["20260101120000_CreateCows", "20260301101500_AddPrice"],
            head: "20260301101500_AddPrice",
            ..CASE
        },
        Case {
            table: "_fluent_migrations",
            columns: "id name batch created_at updated_at",
            needed: "name batch created_at",
            rows: &["App.CreateCows\t1\t2026-01-11 08:00:01+00"],
            tool: "Fluent",
            applied: &["App.CreateCows"],
            head: "App.CreateCows",
            ..CASE
        },
        Case {
            table: "VersionInfo",
            columns: "Version AppliedOn Description",
            needed: "Version AppliedOn Description",
            rows: &[
                "20260101\t2026-01-11 08:00:01\tCreateCows",
                "20260110\t2026-01-11 08:00:01\tAddMilk",
                "20260301\t2026-03-01 11:00:00\tAddPrice",
            ],
            tool: "FluentMigrator",
            applied: &["20260101 CreateCows", "20260110 AddMilk", "20260301 AddPrice"],
            head: "20260301 AddPrice",
            ..CASE
        },
        Case {
            table: "flyway_schema_history",
            columns: "installed_rank version description type script checksum installed_by installed_on execution_time success",
            needed: "installed_rank version type script installed_on success",
            rows: &[
                "0\t\\N\tSCHEMA\t\"flyway\"\t2026-01-10 12:00:00\tt",
                "1\t1\tSQL\tV1__create_cows.sql\t2026-01-10 12:00:01\tt",
                "2\t2\tSQL\tV2__barn.sql\t2026-01-10 12:00:02\tt",
                "3\t\\N\tSQL\tR__milk_view.sql\t2026-01-10 12:00:03\tt",
                "4\t3\tSQL\tV3__add_milk.sql\t2026-03-01 11:00:00\tt",
                "5\t\\N\tSQL\tR__milk_view.sql\t2026-03-01 11:00:01\tt",
                "6\t4\tSQL\tV4__index_milk.sql\t2026-03-01 11:00:02\tf",
            ],
            tool: "Flyway",
            applied: &[
                "V1__create_cows.sql",
                "V2__barn.sql",
                "R__milk_view.sql",
                "V3__add_milk.sql",
                "R__milk_view.sql",
            ],
            failed: &["V4__index_milk.sql"],
            head: "R__milk_view.sql",
            ..CASE
        },
        Case {
            table: "schema_version",
            columns: "version_rank installed_rank version description type script checksum installed_by installed_on execution_time success",
            needed: "installed_rank version type script installed_on success",
            rows: &[
                "1\t1\tSQL\tV1__init.sql\t2015-09-14 13:51:00\tt",
                "2\t1.1\tSQL\tV1_1__barn.sql\t2015-09-14 13:51:01\tt",
                "3\t1.2\tSQL\tV1_2__add_milk.sql\t2026-03-01 11:00:00\tt",
            ],
            tool: "Flyway",
            applied: &["V1__init.sql", "V1_1__barn.sql", "V1_2__add_milk.sql"],
            head: "V1_2__add_milk.sql",
            ..CASE
        },
        Case {
            table: "flyway_schema_history",
            columns: "installed_rank version description type script checksum installed_by installed_on execution_time success",
            needed: "installed_rank version type script installed_on success",
            rows: &[
                "1\t1\tBASELINE\t<< Flyway Baseline >>\t2026-01-10 12:00:01\tt",
                "2\t9\tSQL\tV9__barn.sql\t2026-01-10 12:00:02\tt",
                "3\t10\tSQL\tV10__add_milk.sql\t2026-01-10 12:00:03\tt",
                "4\t10\tUNDO_SQL\tU10__add_milk.sql\t2026-03-01 11:00:00\tt",
            ],
            tool: "Flyway",
            applied: &["<< Flyway Baseline >>", "V9__barn.sql"],
            head: "V9__barn.sql",
            ..CASE
        },
        Case {
            table: "schema_migrations",
            columns: "version dirty",
            needed: "version dirty",
            rows: &["20260301101500\tf"],
            tool: "golang-migrate",
            applied: &[],
            head: "20260301101500",
            ..CASE
        },
        Case {
            table: "schema_migrations",
            columns: "version dirty",
            needed: "version dirty",
            rows: &["3\tt"],
            tool: "golang-migrate",
            applied: &[],
            failed: &["3"],
            head: "3",
            ..CASE
        },
        Case {
            table: "goose_db_version",
            columns: "id version_id is_applied tstamp",
            needed: "id version_id is_applied",
            rows: &["1\t0\tt", "2\t1\tt", "4\t3\tt"],
            tool: "goose",
            applied: &["1", "3"],
            head: "3",
            ..CASE
        },
        Case {
            table: "goose_db_version",
            columns: "id version_id is_applied tstamp",
            needed: "id version_id is_applied",
            rows: &[
                "1\t0\tt",
                "2\t20260101120000\tt",
                "3\t20260110120500\tt",
                "4\t20260110120500\tf",
                "5\t20260110120500\tt",
                "6\t20260110120500\tf",
            ],
            tool: "goose",
            applied: &["20260101120000"],
            head: "20260101120000",
            ..CASE
        },
        Case {
            table: "migrations",
            columns: "hash previous_hash filename date",
            needed: "filename date",
            rows: &[
                "000001-cows.sql\t2026-01-11 08:00:01+00",
                "000002-add-milk.sql\t2026-01-11 08:00:02+00",
                "000003-add-price.sql\t2026-03-01 11:00:00+00",
            ],
            tool: "graphile-migrate",
            applied: &["000001-cows.sql", "000002-add-milk.sql", "000003-add-price.sql"],
            head: "000003-add-price.sql",
            ..CASE
        },
        Case {
            table: "knex_migrations",
            columns: "id name batch migration_time",
            needed: "id name",
            rows: &["1\t20260101120000_create_cows.js"],
            tool: "Knex",
            applied: &["20260101120000_create_cows.js"],
            head: "20260101120000_create_cows.js",
            ..CASE
        },
        Case {
            table: "kysely_migration",
            columns: "name timestamp",
            needed: "name timestamp",
            rows: &[
                "20260101120000_create_cows\t2026-01-11T08:00:01.123Z",
                "20260110120500_add_milk\t2026-01-11T08:00:01.130Z",
                "20260301101500_add_price\t2026-03-01T11:00:00.123Z",
            ],
            tool: "Kysely",
            applied: &["20260101120000_create_cows", "20260110120500_add_milk", "20260301101500_add_price"],
            head: "20260301101500_add_price",
            ..CASE
        },
        Case {
            table: "migrations",
            columns: "id migration batch",
            needed: "id migration",
            rows: &["1\t2026_01_01_120000_create_cows_table"],
            tool: "Laravel",
            applied: &["2026_01_01_120000_create_cows_table"],
            head: "2026_01_01_120000_create_cows_table",
            ..CASE
        },
        Case {
            table: "databasechangelog",
            columns: "id author filename dateexecuted orderexecuted exectype md5sum description comments tag liquibase contexts labels deployment_id",
            needed: "id author filename dateexecuted orderexecuted exectype",
            rows: &[
                "10\tanna\tchanges/010-barn.yaml\t2026-01-10 12:00:00.1\t1\tEXECUTED",
                "11\tanna\tchanges/011-name.yaml\t2026-01-12 09:30:00.2\t2\tEXECUTED",
                "12\tanna\tchanges/012-milk.yaml\t2026-03-01 11:00:00.2\t3\tEXECUTED",
            ],
            tool: "Liquibase",
            applied: &[
                "changes/010-barn.yaml::10::anna",
                "changes/011-name.yaml::11::anna",
                "changes/012-milk.yaml::12::anna",
            ],
            head: "changes/012-milk.yaml::12::anna",
            ..CASE
        },
        Case {
            table: "DATABASECHANGELOG",
            columns: "ID AUTHOR FILENAME DATEEXECUTED ORDEREXECUTED EXECTYPE MD5SUM DESCRIPTION COMMENTS TAG LIQUIBASE CONTEXTS LABELS DEPLOYMENT_ID",
            needed: "ID AUTHOR FILENAME DATEEXECUTED ORDEREXECUTED EXECTYPE",
            rows: &["11\tanna\tchanges/011-name.yaml\t2026-01-12 09:30:00.2\t1\tMARK_RAN"],
            tool: "Liquibase",
            applied: &["changes/011-name.yaml::11::anna"],
            head: "changes/011-name.yaml::11::anna",
            ..CASE
        },
        Case {
            table: "schema_migrations",
            columns: "id applied description",
            needed: "id applied description",
            rows: &[
                "20260101120000\t2026-01-11 08:00:01.1\tcreate-cows",
                "20260110120500\t2026-01-11 08:00:01.2\tadd-milk",
                "20260301101500\t2026-03-01 11:00:00\tadd-price",
            ],
            tool: "Migratus",
            applied: &["20260101120000 create-cows", "20260110120500 add-milk", "20260301101500 add-price"],
            head: "20260301101500 add-price",
            ..CASE
        },
        Case {
            table: "mikro_orm_migrations",
            columns: "id name executed_at",
            needed: "id name",
            rows: &["1\tMigration20260101120000", "2\tMigration20260110120500", "3\tMigration20260301101500"],
            tool: "MikroORM",
            applied: &["Migration20260101120000", "Migration20260110120500", "Migration20260301101500"],
            head: "Migration20260301101500",
            ..CASE
        },
        Case {
            table: "pgmigrations",
            columns: "id name run_on",
            needed: "id name",
            rows: &[
                "1\t1767268800000_create-cows",
                "2\t1768046700000_add-milk",
                "3\t1772360100000_add-price",
            ],
            tool: "node-pg-migrate",
            applied: &["1767268800000_create-cows", "1768046700000_add-milk", "1772360100000_add-price"],
            head: "1772360100000_add-price",
            ..CASE
        },
        Case {
            table: "payload_migrations",
            columns: "id name batch updated_at created_at",
            needed: "name batch created_at",
            rows: &[
                "20260101_120000_init\t1\t2026-01-11 08:00:01+00",
                "dev\t-1\t2026-01-11 08:00:02+00",
                "20260301_101500\t2\t2026-03-01 11:00:00+00",
            ],
            tool: "Payload",
            applied: &["20260101_120000_init", "20260301_101500"],
            head: "20260301_101500",
            ..CASE
        },
        Case {
            table: "phinxlog",
            columns: "version migration_name start_time end_time breakpoint",
            needed: "version migration_name start_time",
            rows: &[
                "20260101120000\tCreateCows\t2026-01-11 08:00:01",
                "20260110120500\tAddMilk\t2026-01-11 08:00:02",
                "20260105090000\tAddBarn\t2026-03-01 11:00:00",
            ],
            tool: "Phinx",
            applied: &["20260101120000 CreateCows", "20260110120500 AddMilk", "20260105090000 AddBarn"],
            head: "20260105090000 AddBarn",
            ..CASE
        },
        Case {
            table: "play_evolutions",
            columns: "id hash applied_at apply_script revert_script state last_problem",
            needed: "id state",
            rows: &["10\tapplied", "9\tapplied", "11\tapplying_up"],
            tool: "Play evolutions",
            applied: &["9", "10"],
            failed: &["11"],
            head: "10",
            ..CASE
        },
        Case {
            table: "_prisma_migrations",
            columns: "id checksum finished_at migration_name logs rolled_back_at started_at applied_steps_count",
            needed: "finished_at migration_name rolled_back_at started_at",
            rows: &[
                "2026-01-11 08:00:01.5+00\t20260101120000_init\t\\N\t2026-01-11 08:00:01.1+00",
                "2026-01-11 08:00:02.5+00\t20260110120500_add_barn\t\\N\t2026-01-11 08:00:02.1+00",
                "2026-03-01 11:00:01.5+00\t20260301101500_add_milk\t\\N\t2026-03-01 11:00:01.1+00",
                "\\N\t20260301102000_add_price\t\\N\t2026-03-01 11:00:02.1+00",
            ],
            tool: "Prisma",
            applied: &["20260101120000_init", "20260110120500_add_barn", "20260301101500_add_milk"],
            failed: &["20260301102000_add_price"],
            head: "20260301101500_add_milk",
            ..CASE
        },
        Case {
            table: "_prisma_migrations",
            columns: "id checksum finished_at migration_name logs rolled_back_at started_at applied_steps_count",
            needed: "finished_at migration_name rolled_back_at started_at",
            rows: &[
                "2026-01-11 08:00:01.5+00\t20260101120000_init\t\\N\t2026-01-11 08:00:01.1+00",
                "\\N\t20260110120500_add_barn\t2026-01-12 08:00:00+00\t2026-01-11 08:00:02.1+00",
                "2026-01-12 08:01:00.5+00\t20260110120500_add_barn\t\\N\t2026-01-12 08:01:00.1+00",
            ],
            tool: "Prisma",
            applied: &["20260101120000_init", "20260110120500_add_barn"],
            head: "20260110120500_add_barn",
            ..CASE
        },
        Case {
            table: "ragtime_migrations",
            columns: "id created_at",
            needed: "id created_at",
            rows: &[
                "001-create-cows\t2026-01-10T12:00:01.000",
                "002-add-milk\t2026-01-10T12:00:02.000",
                "003-add-price\t2026-03-01T11:00:00.000",
            ],
            tool: "Ragtime",
            applied: &["001-create-cows", "002-add-milk", "003-add-price"],
            head: "003-add-price",
            ..CASE
        },
        Case {
            neighbours: &["ar_internal_metadata", "cows"],
            table: "schema_migrations",
            columns: "version",
            needed: "version",
            rows: &["20260112093000", "20260101120000", "20260301101500"],
            tool: "Rails",
            applied: &["20260101120000", "20260112093000", "20260301101500"],
            head: "20260301101500",
            ..CASE
        },
        Case {
            table: "refinery_schema_history",
            columns: "version name applied_on checksum",
            needed: "version name",
            rows: &["1\tcreate_cows", "2\tadd_milk", "3\tadd_price"],
            tool: "refinery",
            applied: &["V1__create_cows", "V2__add_milk", "V3__add_price"],
            head: "V3__add_price",
            ..CASE
        },
        Case {
            table: "seaql_migrations",
            columns: "version applied_at",
            needed: "version applied_at",
            rows: &["m20260101_120000_create_cows\t1768118401"],
            tool: "SeaORM",
            applied: &["m20260101_120000_create_cows"],
            head: "m20260101_120000_create_cows",
            ..CASE
        },
        Case {
            table: "schema_migrations",
            columns: "filename",
            needed: "filename",
            rows: &[
                "20260101120000_create_cows.rb",
                "20260110120500_add_milk.rb",
                "20260301101500_add_price.rb",
            ],
            tool: "Sequel",
            applied: &[
                "20260101120000_create_cows.rb",
                "20260110120500_add_milk.rb",
                "20260301101500_add_price.rb",
            ],
            head: "20260301101500_add_price.rb",
            ..CASE
        },
        Case {
            table: "SequelizeMeta",
            columns: "name",
            needed: "name",
            rows: &["20260101120000-create-cows.js", "20260301101500-add-price.js"],
            tool: "Sequelize",
            applied: &["20260101120000-create-cows.js", "20260301101500-add-price.js"],
            head: "20260301101500-add-price.js",
            ..CASE
        },
        Case {
            table: "changes",
            columns: "change_id script_hash change project note committed_at committer_name committer_email planned_at planner_name planner_email",
            needed: "change_id change project committed_at",
            rows: &[
                "f30fe47f5f99501fb8d481e910d9112c5ac0a676\tcows\tbarn\t2026-01-11 08:00:01+00",
                "260be5dbc38c257234f817f7bd1f3cf2afb3ddae\tmilk\tbarn\t2026-01-11 08:00:02+00",
                "370be5dbc38c257234f817f7bd1f3cf2afb3ddae\tprice\tbarn\t2026-03-01 11:00:00+00",
                "480be5dbc38c257234f817f7bd1f3cf2afb3ddae\tmilk\tbarn\t2026-03-01 11:00:01+00",
            ],
            tool: "Sqitch",
            applied: &["barn:cows", "barn:milk", "barn:price", "barn:milk"],
            head: "barn:milk",
            ..CASE
        },
        Case {
            table: "gorp_migrations",
            columns: "id applied_at",
            needed: "id applied_at",
            rows: &[
                "20260101120000-create_cows.sql\t2026-01-11 08:00:01.1+00",
                "20260110120500-add_milk.sql\t2026-01-11 08:00:01.2+00",
                "20260301101500-add_price.sql\t2026-03-01 11:00:00+00",
            ],
            tool: "sql-migrate",
            applied: &[
                "20260101120000-create_cows.sql",
                "20260110120500-add_milk.sql",
                "20260301101500-add_price.sql",
            ],
            head: "20260301101500-add_price.sql",
            ..CASE
        },
        Case {
            table: "_sqlx_migrations",
            columns: "version description installed_on success checksum execution_time",
            needed: "version description installed_on success",
            rows: &[
                "20260101120000\tcreate cows\t2026-01-11 08:00:01+00\tt",
                "20260110120500\tadd milk\t2026-01-11 08:00:02+00\tt",
                "20260301101500\tadd price\t2026-03-01 11:00:00+00\tt",
                "20260301102000\tindex price\t2026-03-01 11:00:01+00\tf",
            ],
            tool: "sqlx",
            applied: &["20260101120000 create cows", "20260110120500 add milk", "20260301101500 add price"],
            failed: &["20260301102000 index price"],
            head: "20260301101500 add price",
            ..CASE
        },
        Case {
            table: "strapi_migrations",
            columns: "id name time",
            needed: "id name",
            rows: &["1\t2026.01.10T12.05.00.add-milk.js", "2\t2026.03.01T10.15.00.add-price.js"],
            tool: "Strapi",
            applied: &["2026.01.10T12.05.00.add-milk.js", "2026.03.01T10.15.00.add-price.js"],
            head: "2026.03.01T10.15.00.add-price.js",
            ..CASE
        },
        Case {
            table: "schema_migrations",
            columns: "version statements name",
            needed: "version name",
            rows: &["20260101120000\tcreate_cows", "20260110120500\tadd_milk", "20260301101500\tadd_price"],
            tool: "Supabase",
            applied: &["20260101120000 create_cows", "20260110120500 add_milk", "20260301101500 add_price"],
            head: "20260301101500 add_price",
            ..CASE
        },
        Case {
            table: "migrations",
            columns: "id timestamp name",
            needed: "id name",
            rows: &["1\tCreateCows1767268800000", "2\tAddMilk1768046700000", "3\tAddPrice1772360100000"],
            tool: "TypeORM",
            applied: &["CreateCows1767268800000", "AddMilk1768046700000", "AddPrice1772360100000"],
            head: "AddPrice1772360100000",
            ..CASE
        },
        Case {
            table: "_yoyo_migration",
            columns: "migration_hash migration_id applied_at_utc",
            needed: "migration_id applied_at_utc",
            rows: &["20260101_01_xxMpz-create-cows\t2026-01-11 08:00:01"],
            tool: "Yoyo",
            applied: &["20260101_01_xxMpz-create-cows"],
            head: "20260101_01_xxMpz-create-cows",
            ..CASE
        },
    ];

    fn recognised(case: &Case) -> &'static Tool {
        let columns: Vec<&str> = case.columns.split(' ').collect();
        let (definition, neighbours) = (case.definition, case.neighbours);
        let table = Table { name: case.table, columns: &columns, definition, neighbours };
        recognise(&table).unwrap_or_else(|| panic!("{} {}", case.tool, case.table))
    }

    #[test]
    fn each_tool_is_known_by_its_table() {
        for case in CASES {
            assert_eq!(recognised(case).name, case.tool, "{}", case.table);
        }
    }

    #[test]
    fn each_tool_has_a_table_that_is_its() {
        let known: BTreeSet<&str> = CASES.iter().map(|case| recognised(case).name).collect();
        let all: BTreeSet<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        assert_eq!(known, all);
    }

    #[test]
    fn no_column_is_read_without_need() {
        for case in CASES {
            let columns: Vec<&str> = case.columns.split(' ').collect();
            assert_eq!(columns_needed(recognised(case), &columns).join(" "), case.needed, "{}", case.tool);
        }
    }

    #[test]
    fn each_tools_rows_are_its_history() {
        for case in CASES {
            let tool = recognised(case);
            let columns: Vec<String> = case.needed.split(' ').map(str::to_owned).collect();
            let rows: Vec<_> = copy_text::rows((case.rows.join("\n") + "\n\\.\n").as_bytes()).collect();
            let expected = History {
                tool: case.tool.to_owned(),
                heads_only: case.applied.is_empty(),
                head: Some(case.head.to_owned()),
                count: case.applied.len(),
                applied: case.applied.iter().map(|name| (*name).to_owned()).collect(),
                failed: case.failed.iter().map(|name| (*name).to_owned()).collect(),
            };
            assert_eq!(history(tool, &columns, &rows), expected);
        }
    }

    #[test]
    fn an_entry_names_only_what_is_there() {
        for tool in TOOLS {
            assert!(!tool.name.is_empty() && !tool.tables.is_empty() && !tool.files.is_empty(), "{tool:?}");
            let (Columns::With(columns) | Columns::Only(columns)) = tool.columns;
            assert!(!columns_needed(tool, columns).is_empty(), "{tool:?}");
        }
    }
}
