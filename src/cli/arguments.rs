//! The command line: one binary, `orders`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use uuid::Uuid;

use super::import::source::Columns;
use crate::app::config::{ServeArgs, StoreArgs};

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
#[expect(
    clippy::large_enum_variant,
    clippy::doc_markdown,
    reason = "read once at the start; these texts are shown on a terminal"
)]
pub enum Command {
    /// Serve commands and queries over HTTP
    ///
    /// With neither DATABASE_URL nor NATS_URL the service starts its own private PostgreSQL and NATS
    /// servers under the data directory and stops them with itself. Prints one line `listening on
    /// http://HOST:PORT` once it takes requests. SIGTERM and SIGINT stop it cleanly.
    ///
    /// The programs of the embedded servers are looked for on PATH and in the usual places;
    /// ORDERS_POSTGRES_BIN (a directory), ORDERS_NATS_SERVER (a file) and ORDERS_TOOLS_DIR (where
    /// `make tools` puts both) name others.
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date, and exit
    Migrate(StoreArgs),
    /// Bring the read model up to date from the event store, or rebuild it beside the service
    ///
    /// Without --full: applies the events that the read model lacks. With --full: fills new tables
    /// from the first event on, compares them with the live ones, and puts them in their place while
    /// the service goes on serving. Killed at any moment it leaves the live tables whole.
    Replay(ReplayArgs),
    /// Check the event store and compare the read model with it; exit status 1 where anything differs
    Verify(VerifyArgs),
    /// List orders whose events cannot be applied to the read model, or try them again
    Parked(ParkedArgs),
    /// Import the order lines of a flat CSV file (zstd is unpacked on the way)
    ///
    /// Can be run again without doubling anything. An order with one bad line is refused whole and
    /// goes, with its reason, to a file of rejects.
    Import(ImportArgs),
    /// Print the OpenAPI document
    Openapi,
}

/// How to replay.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Where the stores are.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Rebuild from the first event on
    #[arg(long)]
    pub full: bool,

    /// Only say what a rebuild would change
    #[arg(long, requires = "full")]
    pub dry_run: bool,
}

/// How to verify.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Where the stores are.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Fold anew the orders that differ
    #[arg(long)]
    pub repair: bool,
}

/// What to do with parked orders.
#[derive(Debug, Args)]
pub struct ParkedArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ParkedAction,
}

/// What can be done with parked orders.
#[derive(Debug, Subcommand)]
pub enum ParkedAction {
    /// List them with their reasons
    List(StoreArgs),
    /// Fold them anew: all, or those named
    Retry {
        /// Where the stores are.
        #[command(flatten)]
        store: StoreArgs,
        /// Orders to try; all where none is named
        orders: Vec<Uuid>,
    },
}

/// What to import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// CSV file with a heading; may be compressed by zstd
    pub file: PathBuf,

    /// Where the stores are.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Which columns hold what.
    #[command(flatten)]
    pub columns: Columns,

    #[expect(clippy::doc_markdown, reason = "shown on a terminal")]
    /// Currency of all prices (by default ORDERS_DEFAULT_CURRENCY)
    #[arg(long, value_name = "CODE")]
    pub currency: Option<String>,

    /// Customer of orders that name none; without it they are refused
    #[arg(long, value_name = "ID")]
    pub default_customer: Option<String>,

    /// Tells apart files that number their orders alike
    #[arg(long, value_name = "NAME", default_value = "import")]
    pub source: String,

    /// What the orders become
    #[arg(long, value_enum, default_value = "created")]
    pub status: ImportStatus,

    /// Where refused orders go (by default FILE.rejects.csv)
    #[arg(long, value_name = "PATH")]
    pub rejects: Option<PathBuf>,

    /// Exit with status 1 where any order was refused
    #[arg(long)]
    pub strict: bool,
}

/// What imported orders become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportStatus {
    /// Open.
    Created,
    /// Completed.
    Completed,
}
