//! What is said to Postgres and its tools: command lines, SQL, and reading their answers. Pure: nothing is run here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::pg_version::PgVersion;

/// dokku-postgres makes its databases as this superuser.
pub const SUPERUSER: &str = "postgres";
/// Where a database is made, renamed and dropped from: it always exists and no app uses it.
pub const MAINTENANCE_DATABASE: &str = "template1";

/// Session settings that both dumps of a drill, and every restore, must agree on, because COPY's text and the meaning of
/// definitions depend on them, and settings that hinder or end a session; `pg_dump` does not fix them itself. Given in
/// the connection's options, they go before `ALTER DATABASE/ROLE … SET`. (Postgres manual, "Parameter Names and Values"
/// and "COPY".)
const PINNED: [(&str, &str); 19] = [
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO,YMD"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("extra_float_digits", "3"),
    ("array_nulls", "on"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read\\ committed"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("session_replication_role", "origin"),
    ("role", "none"),
    ("search_path", "pg_catalog"),
    ("lock_timeout", "0"),
    ("lc_messages", "C"),
    ("quote_all_identifiers", "off"),
    ("transform_null_equals", "off"),
];

/// The same for settings that older servers do not know, with the first major version that does. Event triggers would
/// write into what is compared: at every login, and at what a restore does after it has made them.
const PINNED_SINCE: [(u32, &str, &str); 3] =
    [(14, "idle_session_timeout", "0"), (17, "transaction_timeout", "0"), (17, "event_triggers", "off")];

/// The value of `PGOPTIONS` for every session on a server of `version`, which is not known before the first. `lc_monetary`
/// decides how `money` is written, so a restore needs the source's.
pub fn session_options(version: Option<PgVersion>, lc_monetary: &str, more: &[(&str, &str)]) -> String {
    let monetary = lc_monetary.replace('\\', "\\\\").replace(' ', "\\ ");
    let is_known = |since: u32| version.is_some_and(|version| version.major() >= since);
    let since =
        PINNED_SINCE.iter().filter(|(since, ..)| is_known(*since)).map(|(_, name, value)| (name, value));
    let settings = PINNED.iter().chain(more).map(|(name, value)| (name, value)).chain(since);
    let mut words: Vec<String> = settings.map(|(name, value)| format!("-c {name}={value}")).collect();
    if !monetary.is_empty() {
        words.push(format!("-c lc_monetary={monetary}"));
    }
    words.join(" ")
}

/// Compression of a dump made by this server's own `pg_dump`.
pub fn compression(version: PgVersion) -> &'static str {
    if version.has_zstd() { "zstd:3" } else { "gzip:1" }
}

/// The same for a dump that is read once and thrown away.
pub fn fast_compression(version: PgVersion) -> &'static str {
    if version.has_zstd() { "zstd:1" } else { "gzip:1" }
}

/// For `pg_dump`, which before 16 takes only the gzip level.
pub fn compression_argument(compression: &str) -> String {
    format!("--compress={}", compression.strip_prefix("gzip:").unwrap_or(compression))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Loopback, since the tools run inside the service's network namespace.
fn connection() -> Vec<String> {
    words(&["--host", "localhost", "--username", SUPERUSER, "--no-password"])
}

/// What `pg_dump` waits longer for a locked table than whoever watches it: it cannot say on whom it waited.
const GRACE: Duration = Duration::from_secs(30);

/// `pg_dump` of one database into the folder `target` (which may exist, empty); [`compression_argument`] is its last word.
pub fn dump_command(database: &str, jobs: usize, lock_timeout: Duration, target: &str) -> Vec<String> {
    let lock_timeout = (lock_timeout + GRACE).as_millis().to_string();
    let mut command = words(&["pg_dump"]);
    command.extend(connection());
    command.extend(words(&["--format", "directory", "--jobs", &jobs.to_string()]));
    // We make the files durable ourselves, once.
    command.extend(words(&["--lock-wait-timeout", &lock_timeout]));
    command.extend(words(&["--no-sync", "--file", target]));
    command.extend([format!("--dbname={}", connection_string(database))]);
    command
}

/// A database name that libpq must not read as a connection string of its own.
fn connection_string(database: &str) -> String {
    let escaped = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("dbname='{escaped}'")
}

/// `pg_restore` of the dump in `source`, stopping at the first error. One job leaves `--single-transaction` possible.
pub fn restore_command(database: &str, jobs: usize, source: &str, more: &[&str]) -> Vec<String> {
    let mut command = words(&["pg_restore"]);
    command.extend(connection());
    command.extend(words(&["--exit-on-error"]));
    if jobs > 1 {
        command.extend(words(&["--jobs", &jobs.to_string()]));
    }
    command.extend(words(more));
    command.extend([format!("--dbname={}", connection_string(database))]);
    command.push(source.to_owned());
    command
}

/// `pg_restore` that prints the dump in `source` as a script, without any server.
pub fn print_command(source: &str, more: &[&str]) -> Vec<String> {
    let mut command = words(&["pg_restore", "--file=-"]);
    command.extend(words(more));
    command.push(source.to_owned());
    command
}

/// `pg_restore` of an archive that others made, which goes on behind errors and tells them.
pub fn load_command(database: &str, jobs: usize, source: &str) -> Vec<String> {
    let mut command = words(&["pg_restore"]);
    command.extend(connection());
    if jobs > 1 {
        command.extend(words(&["--jobs", &jobs.to_string()]));
    }
    command.extend(words(&["--no-tablespaces"]));
    command.extend([format!("--dbname={}", connection_string(database))]);
    command.push(source.to_owned());
    command
}

/// psql with the script of somebody else, which goes on behind errors, tells them, and prints no rows.
pub fn script_command(database: &str, script: &str) -> Vec<String> {
    let mut command = words(&["psql"]);
    command.extend(connection());
    command.extend(words(&["--no-psqlrc", "--quiet", "--echo-errors", "--output", "/dev/null"]));
    command.extend(words(&["--set", "ON_ERROR_STOP=0", "--set", "SHOW_CONTEXT=never"]));
    command.extend([format!("--dbname={}", connection_string(database))]);
    command.extend(words(&["--file", script]));
    command
}

/// `pg_dumpall` of the roles, to stdout.
pub fn roles_command() -> Vec<String> {
    let mut command = words(&["pg_dumpall"]);
    command.extend(connection());
    command.extend(words(&["--roles-only"]));
    command
}

/// `psql` that reads its script from stdin, stops at the first error and prints bare values.
pub fn psql_command(database: &str) -> Vec<String> {
    let mut command = words(&["psql"]);
    command.extend(connection());
    command.extend(words(&[
        "--no-psqlrc",
        "--quiet",
        "--no-align",
        "--tuples-only",
        "--set",
        "ON_ERROR_STOP=1",
    ]));
    command.extend([format!("--dbname={}", connection_string(database))]);
    command.extend(words(&["--file", "-"]));
    command
}

/// `search_path`, a `PATH`, with the folder of Postgres's own programs first, where a Debian image has it last. Before it
/// `psql` and its kin are found in `/usr/bin`, and are a perl script there, which takes longer to start than what it looks
/// for (`pg_wrapper(1)`).
pub fn tools_first(search_path: &str) -> Option<String> {
    let is_own = |folder: &&str| folder.contains("/lib/postgresql/") && folder.ends_with("/bin");
    let (own, others): (Vec<&str>, Vec<&str>) = search_path.split(':').partition(is_own);
    (!own.is_empty()).then(|| [own, others].concat().join(":"))
}

/// A quoted identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted literal, right whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// `DO` with a tag around `body` that is not in it: names may hold anything.
pub fn anonymous_block(body: &str) -> String {
    let mut tag = "$block$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, 'a');
    }
    format!("do {tag} {body} {tag};\n")
}

/// What one question to the service's database tells about it and its server.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerFacts {
    pub version_num: PgVersion,
    pub version: String,
    /// `pg_database_size`, bytes.
    pub size: u64,
    pub lc_monetary: String,
    pub shared_preload_libraries: String,
    pub max_connections: u32,
    /// The database's row in `pg_database`, with the columns that this version has.
    pub database: Value,
    /// All databases of the server.
    pub databases: Vec<String>,
    /// Name and version of each installed extension.
    #[serde(default)]
    pub extensions: Option<std::collections::BTreeMap<String, String>>,
    pub prepared_transactions: u32,
    pub roles: Vec<String>,
    /// Extensions that the server could create.
    pub available_extensions: Vec<String>,
    /// `None` where the database has the default privileges.
    #[serde(default)]
    pub privileges: Option<Vec<Privilege>>,
    #[serde(default)]
    pub settings: Option<Vec<RoleSettings>>,
}

/// One privilege on a database (`aclexplode`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Privilege {
    pub grantor: String,
    /// `None` for PUBLIC.
    pub grantee: Option<String>,
    pub privilege: String,
    pub grantable: bool,
}

/// `ALTER DATABASE … SET` (no role) and `ALTER ROLE … IN DATABASE … SET`, as `pg_db_role_setting` keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoleSettings {
    pub role: Option<String>,
    /// `name=value`.
    pub settings: Vec<String>,
}

/// The question for [`ServerFacts`]; asked in the database itself.
pub const SERVER_FACTS: &str = "\
select json_build_object(
  'version_num', current_setting('server_version_num')::int,
  'version', current_setting('server_version'),
  'size', pg_database_size(current_database()),
  'lc_monetary', current_setting('lc_monetary'),
  'shared_preload_libraries', current_setting('shared_preload_libraries'),
  'max_connections', current_setting('max_connections')::int,
  'database', (select to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(encoding),
      'owner_name', pg_get_userbyid(datdba), 'tablespace_name', (select spcname from pg_tablespace t where t.oid = dattablespace),
      'comment', shobj_description(d.oid, 'pg_database'))
    from pg_database d where datname = current_database()),
  'databases', (select json_agg(datname) from pg_database),
  'extensions', (select json_object_agg(extname, extversion) from pg_extension),
  'prepared_transactions', (select count(*) from pg_prepared_xacts where database = current_database()),
  'roles', (select json_agg(rolname) from pg_roles),
  'available_extensions', (select coalesce(json_agg(name), '[]') from pg_available_extensions),
  'privileges', (select json_agg(json_build_object('grantor', pg_get_userbyid(a.grantor),
      'grantee', case when a.grantee <> 0 then pg_get_userbyid(a.grantee) end,
      'privilege', a.privilege_type, 'grantable', a.is_grantable))
    from pg_database d, aclexplode(d.datacl) a where d.datname = current_database()),
  'settings', (select json_agg(json_build_object(
      'role', case when setrole <> 0 then pg_get_userbyid(setrole) end, 'settings', setconfig))
    from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = current_database()));
";

/// What the sessions of that `application_name` have waited for longest, on whom, and for how long; null when for nothing.
/// Asked in the database itself.
pub fn lock_wait_of(session: &str) -> String {
    let session = literal(session);
    format!(
        "select coalesce((select json_build_object(
  'relation', (select relation::regclass::text from pg_locks l where l.pid = a.pid and not granted limit 1),
  'holder', (select format('process %s (role %s%s)', h.pid, h.usename, ', ' || nullif(h.application_name, ''))
    from pg_stat_activity h where h.pid = any(pg_blocking_pids(a.pid)) order by h.xact_start limit 1),
  'seconds', extract(epoch from clock_timestamp() - query_start))
from pg_stat_activity a where application_name = {session} and wait_event_type = 'Lock'
order by query_start limit 1), 'null');
"
    )
}

/// Every table of the database but the system's, with its columns.
pub const TABLES_WITH_COLUMNS: &str = "\
select coalesce(json_agg(json_build_array(nspname, relname, columns)), '[]')
from pg_class c join pg_namespace n on n.oid = c.relnamespace,
  lateral (select coalesce(json_agg(attname order by attnum), '[]') as columns from pg_attribute
    where attrelid = c.oid and attnum > 0 and not attisdropped) a
where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema', 'pg_toast');
";

/// Drops a database; since Postgres 13 whoever is connected to it is sent away.
pub fn drop_database(version: PgVersion, name: &str) -> String {
    let force = if version.major() >= 13 { " with (force)" } else { "" };
    format!("drop database if exists {}{force};\n", identifier(name))
}

/// Reads psql's answer as JSON.
pub fn parse_answer<T: serde::de::DeserializeOwned>(stdout: &[u8]) -> anyhow::Result<T> {
    let text = String::from_utf8_lossy(stdout);
    serde_json::from_str(text.trim())
        .map_err(|error| anyhow::anyhow!("psql's answer cannot be read: {error}"))
}

/// What `pg_dump` says when a job of it cannot have a lock that another job has.
pub const LOCKED_OUT: &str = "could not obtain lock on relation";
/// The setting that the server names, in whatever language, when its table of locks is full.
pub const LOCK_TABLE_SIZE: &str = "max_locks_per_transaction";
/// What the server says when sessions wait for each other in a circle.
pub const DEADLOCK: &str = "deadlock detected";

/// Whether a tool failed because of what it was given, and not because of its surroundings.
pub fn is_about_the_data(stderr: &str) -> bool {
    const SURROUNDINGS: [&str; 6] = [
        DEADLOCK,
        "No space left on device",
        "could not resize shared memory segment",
        "out of memory",
        "out of shared memory",
        "server closed the connection unexpectedly",
    ];
    stderr.contains("ERROR:") && !SURROUNDINGS.iter().any(|words| stderr.contains(words))
}

/// A plain sentence for the errors of Postgres' tools that have one.
pub fn explain(stderr: &str) -> Option<String> {
    let find = |needle: &str| stderr.lines().find(|line| line.contains(needle)).map(str::trim);
    if find("could not resize shared memory segment").is_some() {
        return Some("the container has too little shared memory (/dev/shm) for parallel work".to_owned());
    }
    let lacking = |line: &&str| line.contains("extension \"") && line.contains("is not available");
    if let Some(line) = stderr.lines().find(lacking) {
        let name = line.split('"').nth(1).unwrap_or("?");
        return Some(format!("the image lacks the extension {name} that the database uses"));
    }
    let gave_up =
        find("canceling statement due to statement timeout").is_some() && stderr.contains("LOCK TABLE");
    if gave_up || find("canceling statement due to lock timeout").is_some() {
        return Some(
            "a table is locked by another session; see who: select * from pg_stat_activity".to_owned(),
        );
    }
    if find("No space left on device").is_some() {
        return Some("the disk is full".to_owned());
    }
    if find("password authentication failed").is_some() {
        return Some("the server does not accept the password in the service's PASSWORD file".to_owned());
    }
    for level in ["FATAL:", "ERROR:"] {
        if let Some(line) = find(level) {
            return line.split_once(level).map(|(_, what)| what.trim().to_owned());
        }
    }
    find("error:").and_then(|line| line.split_once("error:")).map(|(_, what)| what.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_own_folder_comes_first() {
        let debian = "/usr/local/bin:/usr/bin:/usr/lib/postgresql/17/bin";
        assert_eq!(tools_first(debian).unwrap(), "/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin");
        for other in ["/usr/local/bin:/usr/bin:/bin", ""] {
            assert_eq!(tools_first(other), None);
        }
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(identifier("Weird \"Name\" "), "\"Weird \"\"Name\"\" \"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
        assert_eq!(connection_string("a'b\\ host=x"), "dbname='a\\'b\\\\ host=x'");
    }

    #[test]
    fn a_server_is_told_only_of_settings_that_it_knows() {
        let options =
            |version: u32| session_options(Some(PgVersion(version)), "de DE", &[("work_mem", "1MB")]);
        assert!(
            options(170_000).contains("-c event_triggers=off") && options(140_000).contains("idle_session")
        );
        assert!(!options(160_000).contains("event_triggers") && !options(130_000).contains("idle_session"));
        assert!(!session_options(None, "", &[]).contains("event_triggers"));
        assert!(
            options(150_000).contains("-c work_mem=1MB")
                && options(150_000).ends_with("-c lc_monetary=de\\ DE")
        );
    }

    #[test]
    fn compression_follows_the_version() {
        let argument = |version| compression_argument(compression(PgVersion(version)));
        assert_eq!(argument(170_006), "--compress=zstd:3");
        assert_eq!(argument(150_018), "--compress=1");
    }

    #[test]
    fn known_errors_have_plain_sentences() {
        let shm = "pg_restore: error: could not execute query: ERROR:  could not resize shared memory segment \"/P\"";
        assert!(explain(shm).unwrap().contains("/dev/shm"));
        let extension =
            "ERROR:  extension \"postgis\" is not available\nDETAIL:  Could not open extension control file";
        assert_eq!(
            explain(extension).unwrap(),
            "the image lacks the extension postgis that the database uses"
        );
        assert_eq!(
            explain("psql: error: x\nFATAL:  database \"x\" does not exist").unwrap(),
            "database \"x\" does not exist"
        );
        assert_eq!(explain("psql:<stdin>:2: ERROR:  permission denied").unwrap(), "permission denied");
        assert_eq!(explain("nothing of note"), None);
    }
}
