//! The tables in which migration tools keep their books: found in a dump's table of contents, read from the dump or from
//! a server.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::copy_text;
use crate::files;
use crate::layout;
use crate::manifest::MigrationRecord;
use crate::migrations::{self, History, Tool};
use crate::postgres::{self, identifier};
use crate::server::Server;
use crate::sql_text;
use crate::toc::{Entry, Toc};

/// Of the decompressed rows of one table. A hundred thousand migrations are less.
const MAX_ROWS: u64 = 64 * 1024 * 1024;

/// One tool's bookkeeping table.
#[derive(Debug, Clone)]
pub struct Books {
    pub schema: String,
    pub table: String,
    pub tool: &'static Tool,
    /// Those of its columns that tell its history.
    columns: Vec<String>,
}

/// What the books say.
#[derive(Debug, Clone)]
pub struct Account {
    pub books: Books,
    pub history: History,
}

/// What all books of a database say.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub read: Vec<Account>,
    /// Of these nothing can be said, not even that nothing is in them.
    pub unread: Vec<Unread>,
}

/// Books that are there and cannot be read.
#[derive(Debug, Clone)]
pub struct Unread {
    pub books: Books,
    pub why: String,
}

impl Accounts {
    fn of(books: Vec<Books>, read: impl Fn(&Books) -> Result<History>) -> Self {
        let mut accounts = Accounts::default();
        for books in books {
            match read(&books) {
                Ok(history) => accounts.read.push(Account { books, history }),
                Err(error) => accounts.unread.push(Unread { books, why: format!("{error:#}") }),
            }
        }
        accounts
    }

    /// A sentence for each that cannot be read. `place`: where they are.
    pub fn complaints(&self, place: &str) -> Vec<String> {
        let complaint = |unread: &Unread| {
            let Books { schema, table, tool, .. } = &unread.books;
            let (tool, why) = (tool.name, &unread.why);
            format!(
                "the migrations of {tool} ({schema}.{table}) cannot be compared, as those {place} cannot be read: {why}"
            )
        };
        self.unread.iter().map(complaint).collect()
    }
}

impl Account {
    /// What a manifest says of it.
    pub fn record(&self) -> MigrationRecord {
        MigrationRecord {
            tool: self.history.tool.clone(),
            schema: self.books.schema.clone(),
            table: self.books.table.clone(),
            count: self.history.count,
            head: self.history.head.clone(),
        }
    }
}

/// The bookkeeping tables of a database, by its dump's table of contents.
pub fn find(toc: &Toc) -> Vec<Books> {
    let tables: Vec<&Entry> = toc.entries.iter().filter(|entry| entry.kind == "TABLE").collect();
    tables.iter().filter_map(|entry| recognise(entry, &tables)).collect()
}

fn recognise(entry: &Entry, tables: &[&Entry]) -> Option<Books> {
    let of_schema = tables.iter().filter(|other| other.schema == entry.schema);
    let columns = sql_text::table_columns(&entry.definition);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let table = migrations::Table {
        name: &entry.name,
        columns: &names,
        definition: &entry.definition,
        neighbours: &of_schema.map(|other| other.name.as_str()).collect::<Vec<_>>(),
    };
    let tool = migrations::recognise(&table)?;
    Some(Books {
        schema: entry.schema.clone(),
        table: entry.name.clone(),
        tool,
        columns: migrations::columns_needed(tool, &names),
    })
}

/// The bookkeeping tables of a server's database.
pub fn find_on_server(server: &Server<'_>, database: &str) -> Result<Vec<Books>> {
    type Row = (String, String, Vec<String>);
    let rows: Vec<Row> = server.query(database, postgres::TABLES_WITH_COLUMNS)?;
    let books = |(schema, name, columns): &Row| {
        let neighbours: Vec<&str> =
            rows.iter().filter(|other| other.0 == *schema).map(|other| other.1.as_str()).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let table = migrations::Table { name, columns: &columns, definition: "", neighbours: &neighbours };
        let tool = migrations::recognise(&table)?;
        Some(Books {
            schema: schema.clone(),
            table: name.clone(),
            tool,
            columns: migrations::columns_needed(tool, &columns),
        })
    };
    Ok(rows.iter().filter_map(books).collect())
}

/// What the books in the dump of the backup in `folder` say. One that cannot be read is no reason to do without the
/// rest.
pub fn read_dump(toc: &Toc, folder: &Path) -> Accounts {
    Accounts::of(find(toc), |books| read_data_file(toc, folder, books))
}

fn read_data_file(toc: &Toc, folder: &Path, books: &Books) -> Result<History> {
    let is_its = |entry: &&Entry| {
        entry.kind == "TABLE DATA" && entry.schema == books.schema && entry.name == books.table
    };
    let entry = toc.entries.iter().find(is_its).context("it has no data")?;
    let stored = sql_text::copied_columns(&entry.copy_statement);
    let positions: Vec<usize> =
        books.columns.iter().filter_map(|column| stored.iter().position(|stored| stored == column)).collect();
    if positions.len() != books.columns.len() {
        bail!("its columns are not those of its definition");
    }
    let text = decompress(&folder.join(layout::DUMP), &entry.file_name)?;
    let pick =
        |row: Vec<Option<String>>| positions.iter().map(|at| row.get(*at).cloned().flatten()).collect();
    let rows: Vec<Vec<Option<String>>> = copy_text::rows(&text).map(pick).collect();
    Ok(migrations::history(books.tool, &books.columns, &rows))
}

/// A data file of a dump, whole.
fn decompress(dump: &Path, name: &str) -> Result<Vec<u8>> {
    let open = |suffix: &str| files::open_inside(dump, &format!("{name}{suffix}")).ok();
    let reader: Box<dyn Read> = if let Some(file) = open(".zst") {
        Box::new(zstd::stream::read::Decoder::new(file)?)
    } else if let Some(file) = open(".gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(open("").with_context(|| format!("there is no {name}"))?)
    };
    let mut text = Vec::new();
    reader.take(MAX_ROWS + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_ROWS {
        bail!("it is too large for a bookkeeping table");
    }
    Ok(text)
}

/// What `books` say in a server's database now.
pub fn read_server(server: &Server<'_>, database: &str, books: Vec<Books>) -> Accounts {
    Accounts::of(books, |books| read_table(server, database, books))
}

/// In the midst of an incident somebody may hold a lock, and nobody is to wait for this.
const LOCK_TIMEOUT: &str = "set lock_timeout = '3s';\n";

fn read_table(server: &Server<'_>, database: &str, books: &Books) -> Result<History> {
    let columns: Vec<String> = books.columns.iter().map(|column| identifier(column)).collect();
    let (schema, table) = (identifier(&books.schema), identifier(&books.table));
    let columns = columns.join(", ");
    let script = format!("{LOCK_TIMEOUT}copy (select {columns} from {schema}.{table}) to stdout;\n");
    let text = server.execute(database, &script)?;
    let rows: Vec<Vec<Option<String>>> = copy_text::rows(&text).collect();
    Ok(migrations::history(books.tool, &books.columns, &rows))
}
