//! pgbackup: the binary behind the dokku plugin. ARCHITECTURE.md is the map.
//!
//! `main → commands → core → {vocabulary, edges}`, never back. A library only so that tests can reach the parts; its
//! interface is promised to nobody.

pub mod cli;
pub mod commands;
pub mod error;
pub mod ui;

// Core: what pgbackup does. Does not print, read the clock or read the environment.
pub mod aftermath;
pub mod bookkeeping;
pub mod catalog;
pub mod create;
pub mod crontab;
pub mod deploy;
pub mod deployed;
pub mod destroyed;
pub mod diff;
pub mod digest;
pub mod doctor;
pub mod dump;
pub mod durable;
pub mod export;
pub mod fingerprint;
pub mod history;
pub mod host;
pub mod import;
pub mod leftovers;
pub mod likeness;
pub mod lock_wait;
pub mod manifest;
pub mod metrics;
pub mod migrations;
pub mod notify;
pub mod obstacles;
pub mod offsite;
pub mod overdue;
pub mod pace;
pub mod pending;
pub mod practice;
pub mod progress;
pub mod prune;
pub mod pull;
pub mod push;
pub mod restore;
pub mod retention;
pub mod roles;
pub mod room;
pub mod schema;
pub mod scratch;
pub mod server;
pub mod settings;
pub mod status;
pub mod swap;
pub mod tables;
pub mod tarball;
pub mod throwaway;
pub mod timeline;
pub mod undo;
pub mod verify;

// Vocabulary: small checked types and readers, no I/O.
pub mod backup_id;
pub mod checksum;
pub mod code;
pub mod copy_rows;
pub mod copy_text;
pub mod dependents;
pub mod nearest;
pub mod pg_version;
pub mod plain_text;
pub mod schedule;
pub mod service_name;
pub mod sql_text;
pub mod toc;
pub mod units;

// Edges: one owner for each outside thing.
pub mod docker;
pub mod dokku;
pub mod encryption;
pub mod environment;
pub mod files;
pub mod git;
pub mod gpg;
pub mod interrupt;
pub mod layout;
pub mod lock;
pub mod postgres;
pub mod process;
pub mod remote;
pub mod watch;
