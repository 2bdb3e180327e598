//! All tests that need docker: through the shell entrypoints, against real Postgres servers.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod bench;
mod create;
mod docs;
mod restore;
mod roundtrip;
mod verify;
