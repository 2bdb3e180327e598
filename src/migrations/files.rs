//! Which files of a repository are migrations.

use super::{TOOLS, Tool};

/// Whether a path in a repository is a migration of one of these tools (of any tool, if there are none).
pub fn is_migration_file(tools: &[&Tool], path: &str) -> bool {
    /// Deeper is nobody's folder of migrations.
    const DEEPEST: usize = 60;
    // git puts unusual names into quotes.
    let parts: Vec<&str> = path.trim_matches('"').split('/').filter(|part| !part.is_empty()).collect();
    let Some((file, folders)) = parts.split_last() else { return false };
    if parts.len() > DEEPEST || is_about_something_else(file) || folders.iter().any(|f| is_aside(f)) {
        return false;
    }
    let is_in = |tool: &Tool| tool.files.iter().any(|pattern| is_at(&parts, pattern));
    if tools.is_empty() { TOOLS.iter().any(is_in) } else { tools.iter().any(|tool| is_in(tool)) }
}

/// Files beside migrations: documents, tests, and what a tool generates once.
fn is_about_something_else(file: &str) -> bool {
    let file = file.to_lowercase();
    let is_document = [".md", ".rst", ".txt", ".adoc", ".html"].iter().any(|end| file.ends_with(end));
    // A migration that is numbered may well be called "add_ab_test".
    let is_test = !file.starts_with(|c: char| c.is_ascii_digit())
        && (file.starts_with("test_")
            || ["_test.", ".test.", "_spec.", ".spec."].iter().any(|part| file.contains(part)));
    is_document || is_test || ["__init__.py", "env.py"].contains(&file.as_str())
}

fn is_aside(folder: &str) -> bool {
    const ASIDE: [&str; 10] =
        ["test", "tests", "__tests__", "spec", "specs", "doc", "docs", "fixtures", "node_modules", "vendor"];
    ASIDE.iter().any(|aside| folder.eq_ignore_ascii_case(aside))
}

/// Whether the path ends as the pattern says, which may begin at any of its folders.
fn is_at(path: &[&str], pattern: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    (0..path.len()).any(|start| is_exactly_at(&path[start..], &pattern))
}

/// Recursion goes as deep as the pattern, which is ours and has at most one `**`.
fn is_exactly_at(path: &[&str], pattern: &[&str]) -> bool {
    match (pattern, path) {
        ([], _) => path.is_empty(),
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| is_exactly_at(&path[skipped..], rest)),
        ([first, rest @ ..], [part, below @ ..]) => {
            like(first.as_bytes(), part.as_bytes()) && is_exactly_at(below, rest)
        }
        _ => false,
    }
}

/// Whether `text` is like `pattern`, where `*` is anything and `#` a digit.
pub(super) fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last star is, and up to where it was tried. Earlier stars need no second try.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(b'#') if text[read].is_ascii_digit() => (at, read) = (at + 1, read + 1),
            Some(byte) if *byte == text[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((after, tried)) = star else { return false };
                star = Some((after, tried + 1));
                (at, read) = (after + 1, tried + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tools(name: &str) -> Vec<&'static Tool> {
        TOOLS.iter().filter(|tool| tool.name == name).collect()
    }

    #[test]
    fn migrations_are_where_their_tools_have_them() {
        let paths = [
            ("Rails", "db/migrate/20260101120000_add_milk.rb"),
            ("Rails", "apps/shop/db/migrate/20260101120000_create_ab_test.rb"),
            ("Rails", "db/queue_migrate/20260101120000_add_jobs.rb"),
            ("dbmate", "db/migrations/20260101120000_add_milk.sql"),
            ("Ecto", "priv/repo/migrations/20260101120000_add_milk.exs"),
            ("Ecto", "apps/barn/priv/repo/tenant_migrations/20260101120000_add_milk.exs"),
            ("golang-migrate", "internal/store/schema/000012_add_milk.up.sql"),
            ("Sequel", "db/migrations/20260101120000_add_milk.rb"),
            ("Django", "commons/migrations/0012_add_milk.py"),
            ("Django", "backend/apps/commons/migrations/0012_add_milk.py"),
            ("Alembic", "alembic/versions/1975ea83b712_add_milk.py"),
            ("Alembic", "services/api/migrations/versions/2026/1975ea83b712_add_milk.py"),
            ("Liquibase", "src/main/resources/db/changelog/changes/012-milk.yaml"),
            ("Liquibase", "src/main/resources/db.changelog-master.xml"),
            ("Flyway", "src/main/resources/db/migration/V3__add_milk.sql"),
            ("Flyway", "src/main/resources/db/migration/common/beforeMigrate.sql"),
            ("Flyway", "sql/R__milk_view.sql"),
            ("Flyway", "src/main/kotlin/barn/V1_2__AddMilk.kt"),
            ("Play evolutions", "conf/evolutions/default/12.sql"),
            ("Prisma", "packages/db/prisma/migrations/20260101120000_add_milk/migration.sql"),
            ("Knex", "server/migrations/20260101120000_add_milk.js"),
            ("Sequelize", "migrations/20260101120000-add-milk.cjs"),
            ("TypeORM", "src/migration/1767268800000-AddMilk.ts"),
            ("Drizzle", "drizzle/0012_add_milk.sql"),
            ("Laravel", "database/migrations/2026_01_10_120500_add_milk_to_cows_table.php"),
            ("Phinx", "db/migrations/20260110120500_add_milk.php"),
            ("Phinx", "config/Migrations/20260110120500_AddMilk.php"),
            ("Doctrine", "migrations/Version20260110120500.php"),
            ("Diesel", "migrations/2026-01-10-120500_add_milk/up.sql"),
            ("sqlx", "migrations/20260110120500_add_milk.sql"),
            ("refinery", "crates/store/migrations/V12__add_milk.rs"),
            ("SeaORM", "migration/src/m20260110_120500_add_milk.rs"),
            ("goose", "migrations/00012_add_milk.go"),
            ("EF Core", "src/Barn/Data/Migrations/20260110120500_AddMilk.cs"),
            ("EF Core", "src/Barn.Migrations/20260110120500_AddMilk.cs"),
            ("Sqitch", "deploy/add_milk.sql"),
            ("Sqitch", "db/sqitch.plan"),
            ("graphile-migrate", "migrations/committed/000012-add-milk.sql"),
            ("Supabase", "\"supabase/migrations/20260110120500_k\\303\\244se.sql\""),
        ];
        for (tool, path) in paths {
            assert!(is_migration_file(&tools(tool), path), "{tool}: {path}");
            assert!(is_migration_file(&[], path), "{path}");
        }
    }

    #[test]
    fn what_only_sounds_like_a_migration_is_none() {
        for path in [
            "",
            "/",
            "migrations",
            "README.md",
            "docs/migrations/0001_why.py",
            "db/migrate/README.md",
            "commons/migrations/__init__.py",
            "commons/migrations.py",
            "commons/models.py",
            "alembic/env.py",
            "tests/migrations/test_0012.py",
            "spec/dummy/db/migrate/20260101120000_create_cows.rb",
            "src/test/resources/db/migration/V1__cows.sql",
            "src/migrations/runner.test.ts",
            "node_modules/lib/migrations/1.js",
            "app/services/migration_service.rb",
            "migrations/notes.txt",
            "deploy/production.yml",
            "src/View__cows.sql",
        ] {
            assert!(!is_migration_file(&[], path), "{path}");
        }
    }

    #[test]
    fn only_the_tools_in_use_count() {
        let path = "commons/migrations/0012_add_milk.py";
        assert!(!is_migration_file(&tools("Rails"), path));
        assert!(is_migration_file(&[tools("Rails"), tools("Django")].concat(), path));
    }

    #[test]
    fn nobody_has_migrations_deeper_than_sixty_folders() {
        let at = |depth: usize| "a/".repeat(depth - 3) + "db/migrate/20260101120000_add_milk.rb";
        assert!(is_migration_file(&[], &at(60)));
        assert!(!is_migration_file(&[], &at(61)) && !is_migration_file(&[], &at(62)));
    }

    #[test]
    fn stars_and_digits_are_understood() {
        for (pattern, text) in
            [("*", ""), ("*a*b", "xaabb"), ("V#*__*.sql", "V1_2__a__b.sql"), ("a", "a"), ("a#b", "a1b")]
        {
            assert!(like(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("*a", "ab"), ("#", "x"), ("a#", "a")] {
            assert!(!like(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let deep = "migrations/".repeat(5_000) + "x.sql";
        assert!(!is_migration_file(&[], &deep));
        assert!(!is_migration_file(&[], &format!("{}/db/migrate/x", "db/migrate/".repeat(18))));
        assert!(!is_migration_file(&[], &"V1__".repeat(20_000)));
        for tool in TOOLS {
            for pattern in tool.files {
                assert!(pattern.matches("**").count() <= 1, "{pattern}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in ".*", parts in prop::collection::vec("db|migrate|migrations|V1__|\\PC*", 0..9)) {
            let _ = is_migration_file(&[], &path);
            let _ = is_migration_file(&[], &parts.join("/"));
        }

        #[test]
        fn a_star_is_any_text(before in "[a-c]{0,4}", middle in "[a-c]{0,8}", after in "[a-c]{0,4}") {
            let (pattern, text) = (format!("{before}*{after}"), format!("{before}{middle}{after}"));
            prop_assert!(like(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
