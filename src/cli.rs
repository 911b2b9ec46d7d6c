//! The command line: one binary, `orders`.

use clap::{Parser, Subcommand};

use crate::config::{ServeArgs, StoreArgs};

/// An event-sourced order service on PostgreSQL and NATS JetStream
#[derive(Debug, Parser)]
#[command(
    name = "orders",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve commands and queries over HTTP
    ///
    /// With neither DATABASE_URL nor NATS_URL the service starts its own private PostgreSQL and NATS
    /// servers under the data directory and stops them with itself. Prints one line `listening on
    /// http://HOST:PORT` once it takes requests. SIGTERM and SIGINT stop it cleanly.
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date, and exit
    Migrate(StoreArgs),
    /// Print the OpenAPI document
    Openapi,
}
