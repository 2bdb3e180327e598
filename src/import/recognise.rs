//! What something is, by how it begins. Names are not asked: a download is called anything.

/// How many bytes of the beginning are needed: a header of tar and that of an archive behind it, or some lines of SQL.
pub const PREFIX: usize = 8192;

/// What was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Empty,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    /// Encrypted by gpg, with a passphrase as far as can be seen.
    Gpg,
    /// A tar of anything.
    Tar,
    /// What `pg_dump -Ft` writes: `pg_restore` wants it as it is.
    TarArchive,
    /// What `pg_dump -Fc` writes.
    CustomArchive,
    /// Of `pg_dump`, or written by somebody.
    Script,
    /// Of `pg_dumpall`.
    ClusterScript,
    /// Something else that has a name, and what to do about it.
    Foreign(&'static str, &'static str),
    Unknown,
}

/// tar(5): where things are in its header.
const TAR_BLOCK: usize = 512;
const TAR_NAME: std::ops::Range<usize> = 0..100;
const TAR_CHECKSUM: std::ops::Range<usize> = 148..156;

/// `pg_backup_archiver.h`: what the byte behind the archive's version and sizes says of its format.
const FORMAT_AT: usize = 10;
const FORMAT_CUSTOM: u8 = 1;
const FORMAT_TAR: u8 = 3;

/// How files begin that are taken.
const TAKEN: [(&[u8], Found); 5] = [
    (b"\x1f\x8b", Found::Gzip),
    (b"\x28\xb5\x2f\xfd", Found::Zstd),
    (b"\xfd7zXZ\0", Found::Xz),
    (b"BZh", Found::Bzip2),
    (b"-----BEGIN PGP MESSAGE-----", Found::Gpg),
];

const UNPACK: &str = "unpack it and send what is in it";
const AGE: Found = Found::Foreign(
    "encrypted with age",
    "decrypt it where the private key is: age --decrypt --identity <file> <export> | ssh dokku@<server> \
pgbackup:import <service>",
);
const UTF16: Found = Found::Foreign(
    "text in UTF-16, as PowerShell's > writes it",
    "dump again, with pg_dump's own option for the file: pg_dump --file <file> …",
);

/// How files begin that are often mistaken for a dump.
const FOREIGN: [(&[u8], Found); 11] = [
    (b"age-encryption.org/v1", AGE),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", AGE),
    (b"\xff\xfe", UTF16),
    (b"\xfe\xff", UTF16),
    (b"PK\x03\x04", Found::Foreign("a zip archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Found::Foreign("a 7z archive", UNPACK)),
    (b"Rar!", Found::Foreign("a rar archive", UNPACK)),
    (b"\x04\x22\x4d\x18", Found::Foreign("compressed with lz4", "decompress it: lz4 -dc <file> | …")),
    (b"\x1f\x9d", Found::Foreign("compressed with compress", "decompress it: zcat <file> | …")),
    (b"SQLite format 3\0", Found::Foreign("a database of SQLite", "pgbackup takes dumps of Postgres")),
    (b"%PDF-", Found::Foreign("a PDF", "pgbackup takes dumps of Postgres")),
];

/// Recognises what begins with `prefix`; that may be all of it.
pub fn recognise(prefix: &[u8]) -> Found {
    if prefix.is_empty() {
        return Found::Empty;
    }
    if let Some((_, found)) = TAKEN.iter().chain(&FOREIGN).find(|(magic, _)| prefix.starts_with(magic)) {
        return *found;
    }
    if prefix.starts_with(b"PGDMP") {
        return match prefix.get(FORMAT_AT) {
            Some(&FORMAT_CUSTOM) => Found::CustomArchive,
            Some(_) => Found::Foreign(
                "the table of contents alone of a dump in directory format",
                "send the whole folder: tar -cf - -C <folder> . | ssh dokku@<server> pgbackup:import <service>",
            ),
            None => Found::Unknown,
        };
    }
    if is_tar(prefix) {
        return if is_tar_archive(prefix) { Found::TarArchive } else { Found::Tar };
    }
    packet(prefix).unwrap_or_else(|| text(prefix))
}

/// Whether a header stands there whose checksum is right, of whatever kind of tar.
fn is_tar(prefix: &[u8]) -> bool {
    let Some(header) = prefix.get(..TAR_BLOCK) else { return false };
    let digits = header[TAR_CHECKSUM].iter().filter(|byte| (b'0'..=b'7').contains(byte));
    let told = digits.fold(0u32, |sum, digit| (sum << 3) | u32::from(digit - b'0'));
    let counted = |at: usize| if TAR_CHECKSUM.contains(&at) { b' ' } else { header[at] };
    let sum: u32 = (0..TAR_BLOCK).map(|at| u32::from(counted(at))).sum();
    header[0] != 0 && sum == told
}

fn is_tar_archive(prefix: &[u8]) -> bool {
    let name = prefix[TAR_NAME].split(|byte| *byte == 0).next().unwrap_or_default();
    let content = &prefix[TAR_BLOCK..];
    name == b"toc.dat" && content.starts_with(b"PGDMP") && content.get(FORMAT_AT) == Some(&FORMAT_TAR)
}

/// The first packet of a message of gpg (RFC 9580, sections 4.2 and 5): a session key under a passphrase (tag 3) or
/// for a key (tag 1).
fn packet(prefix: &[u8]) -> Option<Found> {
    let first = *prefix.first()?;
    let (tag, version_at) = match first {
        0xc0..=0xff => (first & 0x3f, 2),
        0x80..=0xbf => ((first >> 2) & 0x0f, [2, 3, 5, 1][usize::from(first & 3)]),
        _ => return None,
    };
    match (tag, prefix.get(version_at)?) {
        (3, 4..=6) => Some(Found::Gpg),
        (1, 3 | 6) => Some(Found::Foreign(
            "encrypted by gpg for a key, not with a passphrase",
            "decrypt it where the key is: gpg --decrypt <file> | ssh dokku@<server> pgbackup:import <service>",
        )),
        _ => None,
    }
}

/// With what a statement of a dump begins, a hand-made one too.
const STATEMENTS: [&str; 21] = [
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "COMMENT",
    "COPY",
    "CREATE",
    "DELETE",
    "DO",
    "DROP",
    "GRANT",
    "INSERT",
    "LOCK",
    "REVOKE",
    "SELECT",
    "SET",
    "START",
    "TRUNCATE",
    "UPDATE",
    "VACUUM",
    "WITH",
    "\\RESTRICT",
];

fn text(prefix: &[u8]) -> Found {
    let is_text = |byte: &u8| *byte >= b' ' || matches!(*byte, b'\n' | b'\r' | b'\t' | 0x0c);
    if !prefix.iter().all(is_text) {
        return Found::Unknown;
    }
    let text = String::from_utf8_lossy(prefix);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = text.chars().take(20).collect::<String>().to_ascii_lowercase();
    if ["<!doctype html", "<html"].iter().any(|tag| begins.starts_with(tag)) {
        return Found::Foreign(
            "a web page",
            "the download has brought a page instead of the file: look at it, and fetch the file again",
        );
    }
    if begins.starts_with("<?xml") || begins.starts_with('{') {
        return Found::Foreign(
            "XML or JSON, as a store answers when it refuses",
            "look at it: it may say why the download failed",
        );
    }
    if text.contains("-- PostgreSQL database cluster dump") {
        return Found::ClusterScript;
    }
    if text.contains("-- PostgreSQL database dump") {
        return Found::Script;
    }
    if ["-- MySQL dump", "-- MariaDB dump", "-- phpMyAdmin"].iter().any(|words| text.contains(words)) {
        return Found::Foreign("a dump of MySQL or MariaDB", "pgbackup takes dumps of Postgres");
    }
    let first = first_word(text).to_ascii_uppercase();
    if first == "PRAGMA" {
        return Found::Foreign("a dump of SQLite", "pgbackup takes dumps of Postgres");
    }
    if STATEMENTS.contains(&first.as_str()) { Found::Script } else { Found::Unknown }
}

/// The first word that is in no comment.
fn first_word(text: &str) -> &str {
    let mut rest = text.trim_start();
    loop {
        let end = if rest.starts_with("--") {
            rest.find('\n')
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|at| at + 1)
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '\\').unwrap_or(rest.len());
            return &rest[..end];
        };
        rest = end.map_or("", |end| &rest[end + 1..]).trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tar(name: &str, content: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
        tar.into_inner().unwrap()
    }

    fn archive(format: u8) -> Vec<u8> {
        [b"PGDMP\x01\x10\x00\x04\x08".as_slice(), &[format], &[0; 40]].concat()
    }

    #[test]
    fn archives_are_told_apart_by_what_is_in_them() {
        assert_eq!(recognise(&archive(1)), Found::CustomArchive);
        assert!(matches!(recognise(&archive(5)), Found::Foreign(..)));
        assert_eq!(recognise(&tar("toc.dat", &archive(3))), Found::TarArchive);
        assert_eq!(recognise(&tar("toc.dat", &archive(5))), Found::Tar);
        assert_eq!(recognise(&tar("backup/export", &archive(1))), Found::Tar);
        assert_eq!(recognise(&[0; PREFIX]), Found::Unknown);
        assert_eq!(recognise(b""), Found::Empty);
    }

    #[test]
    fn sql_is_told_from_other_text() {
        let header = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n";
        assert_eq!(recognise(header), Found::Script);
        assert_eq!(recognise(b"--\n-- PostgreSQL database cluster dump\n--\n"), Found::ClusterScript);
        assert_eq!(recognise(b"\xef\xbb\xbf-- mine\n/* a\nb */ create table t (a int);"), Found::Script);
        for foreign in [
            &b"<!DOCTYPE html><html>"[..],
            b"\n<HTML lang=en>",
            b"<?xml version=\"1.0\"?><Error/>",
            b"-- MySQL dump 10.13\nCREATE TABLE `x`",
            b"PRAGMA foreign_keys=OFF;",
            b"age-encryption.org/v1\n",
            b"PK\x03\x04zip",
            b"\xff\xfe-\0-\0",
            b"\x85\x01\x0c\x03key",
        ] {
            assert!(matches!(recognise(foreign), Found::Foreign(..)), "{foreign:?}");
        }
        assert_eq!(recognise(b"id,name\n1,Berta\n"), Found::Unknown);
        for session_key in
            [&b"\x8c\x0d\x04\x09\x03\x02"[..], b"\xc3\x0d\x04\x09", b"\xc3\x1d\x06\x1b", b"\x8d\x00\x0d\x05"]
        {
            assert_eq!(recognise(session_key), Found::Gpg);
        }
        assert_eq!(recognise(b"\xc3\x0d\x07\x09"), Found::Unknown);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, magic in 0usize..20, cut in 0usize..600) {
            let _ = recognise(&bytes);
            let begins: Vec<&[u8]> = TAKEN.iter().chain(&FOREIGN).map(|(magic, _)| *magic).chain([&b"PGDMP"[..]]).collect();
            let _ = recognise(&[begins[magic % begins.len()], &bytes].concat());
            let _ = recognise(&tar("toc.dat", &bytes)[..cut]);
        }

        #[test]
        fn no_text_makes_it_panic(text in r"[-/*\n a-z<{äß]{0,40}") {
            let _ = recognise(text.as_bytes());
        }
    }
}
