//! The database that a restore replaces: as it is on the server or, when somebody dropped it, as the backup knew it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::likeness;
use crate::manifest::Manifest;
use crate::postgres::{MAINTENANCE_DATABASE, ServerFacts, identifier};
use crate::server::Server;
use crate::swap;
use crate::toc::{Entry, Toc};

/// What is there before a restore.
#[derive(Debug)]
pub struct Target {
    /// Of the live database; of the server alone when there is none.
    pub facts: ServerFacts,
    pub exists: bool,
}

impl Target {
    pub fn look(server: &Server<'_>, database: &str) -> Result<Self> {
        match server.facts(database) {
            Ok(facts) => Ok(Target { facts, exists: true }),
            Err(error) => {
                let facts = server.facts(MAINTENANCE_DATABASE)?;
                // Anything else that is wrong with the database must not be taken for its absence.
                if facts.databases.iter().any(|name| name == database) {
                    Err(error)
                } else {
                    Ok(Target { facts, exists: false })
                }
            }
        }
    }

    /// `CREATE DATABASE` for the new database.
    pub fn creation(&self, name: &str, toc: &Toc) -> String {
        if self.exists {
            return likeness::create_database(name, &self.facts);
        }
        let entry = toc.entries.iter().find(|entry| entry.kind == "DATABASE");
        let words =
            entry.and_then(|entry| entry.definition.split_once(" WITH ")).map_or("", |(_, words)| words);
        let words = words.trim_end().trim_end_matches(';');
        format!("create database {} with {words};\n", identifier(name))
    }

    /// Gives the new database its place, with the live one's settings, privileges and comment; how long nobody could
    /// be sure of an answer.
    pub fn swap_in(&self, server: &Server<'_>, live: &str, incoming: &str, kept: &str) -> Result<Duration> {
        if self.exists {
            return swap::swap(
                server,
                live,
                incoming,
                kept,
                &likeness::dress_database(incoming, &self.facts),
            );
        }
        let began = Instant::now();
        // What an earlier restore put aside was not live before this one: undo must not take it for that.
        let older = swap::previous_databases(live, &self.facts.databases);
        swap::rename(server, incoming, live, &older)?;
        Ok(began.elapsed())
    }

    /// What can only be done under the final name: the settings that the backup knows of a database that was dropped.
    pub fn finish(&self, server: &Server<'_>, live: &str, manifest: &Manifest, toc: &Toc) -> Result<()> {
        if self.exists || live != manifest.database.name {
            return Ok(());
        }
        let of_database = |entry: &&Entry| {
            entry.kind == "DATABASE PROPERTIES"
                || (matches!(entry.kind.as_str(), "ACL" | "COMMENT") && entry.name.starts_with("DATABASE "))
        };
        let mut script: String =
            toc.entries.iter().filter(of_database).map(|entry| entry.definition.as_str()).collect();
        if let Some(owner) =
            toc.entries.iter().find(|entry| entry.kind == "DATABASE").map(|entry| &entry.owner)
        {
            script.insert_str(
                0,
                &format!("alter database {} owner to {};\n", identifier(live), identifier(owner)),
            );
        }
        server.execute_always(MAINTENANCE_DATABASE, &script).map(drop)
    }
}
