//! All tests that need docker: through the shell entrypoints, against real Postgres servers.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr, reason = "tests may")]

mod bench;
mod crash;
mod create;
mod docs;
mod outage;
mod restore;
mod roundtrip;
mod session;
mod started;
mod verify;
