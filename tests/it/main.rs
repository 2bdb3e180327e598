//! All tests that need docker: through the shell entrypoints, against real Postgres servers.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod access;
mod app;
mod bench;
mod code;
mod completion;
mod create;
mod deploy;
mod diff;
mod docs;
mod export;
mod formats;
mod import;
mod offsite;
mod operations;
mod outage;
mod plugins;
mod practice;
mod restore;
mod roundtrip;
mod secrets;
mod session;
mod started;
mod store;
mod tables;
mod torture;
mod traces;
mod verify;
