//! All tests that need docker: through the shell entrypoints, against real Postgres servers.

mod bench;
mod create;
mod restore;
mod verify;
