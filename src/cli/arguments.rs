//! The commands of the program `orders` and their arguments, as clap reads them. The texts without
//! a final period are help texts.

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
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    clippy::doc_markdown,
    reason = "read once at the start; the texts are shown on a terminal"
)]
pub enum Command {
    /// Serve commands and queries over HTTP
    ///
    /// If neither DATABASE_URL nor NATS_URL is set, the service starts private PostgreSQL and NATS
    /// servers with their data in the data directory, and stops them when it stops. It prints the
    /// line `listening on http://HOST:PORT` when it accepts requests. SIGTERM and SIGINT stop it
    /// cleanly.
    ///
    /// The programs of the embedded servers are searched on PATH and in the usual places. Other
    /// places are set by ORDERS_POSTGRES_BIN (a directory), ORDERS_NATS_SERVER (a file) and
    /// ORDERS_TOOLS_DIR (the directory that `make tools` fills).
    Serve(Box<ServeArgs>),
    /// Bring the database schema up to date
    Migrate(StoreArgs),
    /// Bring the read model up to date from the event store, or rebuild it
    ///
    /// Without --full, applies the events that the read model lacks. With --full, fills new tables
    /// from the first event on, compares them with the live tables and replaces these, while the
    /// service keeps serving. If it is killed, the live tables stay intact.
    Replay(ReplayArgs),
    /// Check the event store and compare the read model with it; exit status 1 if anything differs
    Verify(VerifyArgs),
    /// List orders whose events cannot be applied to the read model, or retry them
    Parked(ParkedArgs),
    /// Import order lines from a CSV file, which may be compressed with zstd
    ///
    /// The import can be repeated: orders that exist already are not imported twice. An order with
    /// a bad line is refused as a whole and written, with the reason, to a file of rejects.
    Import(ImportArgs),
    /// Print the OpenAPI document
    Openapi,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The database.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Rebuild the read model from the first event on
    #[arg(long)]
    pub full: bool,

    /// Only print what a rebuild would change
    #[arg(long, requires = "full")]
    pub dry_run: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The database.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Fold again the orders that differ
    #[arg(long)]
    pub repair: bool,
}

/// Arguments of `parked`.
#[derive(Debug, Args)]
pub struct ParkedArgs {
    /// The action.
    #[command(subcommand)]
    pub action: ParkedAction,
}

/// The actions on parked orders.
#[derive(Debug, Subcommand)]
pub enum ParkedAction {
    /// List the parked orders and the reasons
    List(StoreArgs),
    /// Fold parked orders again
    Retry {
        /// The database.
        #[command(flatten)]
        store: StoreArgs,
        /// Ids of the orders; all parked orders if none is given
        orders: Vec<Uuid>,
    },
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// CSV file with a heading line; may be compressed with zstd
    pub file: PathBuf,

    /// The database.
    #[command(flatten)]
    pub store: StoreArgs,

    /// The names of the columns.
    #[command(flatten)]
    pub columns: Columns,

    #[expect(clippy::doc_markdown, reason = "shown on a terminal")]
    /// Currency of all prices (default: ORDERS_DEFAULT_CURRENCY)
    #[arg(long, value_name = "CODE")]
    pub currency: Option<String>,

    /// Customer of orders that name none; without it such orders are refused
    #[arg(long, value_name = "ID")]
    pub default_customer: Option<String>,

    /// Name of the source; tells apart files that use the same order numbers
    #[arg(long, value_name = "NAME", default_value = "import")]
    pub source: String,

    /// Status of the imported orders
    #[arg(long, value_enum, default_value = "created")]
    pub status: ImportStatus,

    /// File for refused orders (default: FILE.rejects.csv)
    #[arg(long, value_name = "PATH")]
    pub rejects: Option<PathBuf>,

    /// Exit with status 1 if any order was refused
    #[arg(long)]
    pub strict: bool,
}

/// The status of imported orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportStatus {
    /// Open orders.
    Created,
    /// Completed orders.
    Completed,
}
