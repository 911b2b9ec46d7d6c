//! The commands that work beside the service, or without it: migrate, replay, verify, parked,
//! import. They work on `DATABASE_URL`, or else on the embedded PostgreSQL of the data directory,
//! which they start where no service runs.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    ImportArgs, ImportStatus, ReplayArgs, VerifyArgs,
    import::{Import, draft::Drafting, source::Source},
    progress::Progress,
};
use crate::{
    app::{
        config::{ConfigProblems, StoreArgs},
        wait_for_database,
    },
    embedded::{EmbeddedOptions, PrivatePostgres},
    event_sourcing::{Repository, repository::RepositoryOptions, upcast::UpcasterChain},
    http::server::context::now,
    live::FreshEvents,
    order::{Currency, CustomerId, Order, OrderId, upcasters::upcasters},
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::{Phase, Projector, Rebuild, RebuildProgress, Refolded, Verify},
};

/// How a command ended that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be: exit status 0.
    Good,
    /// Something is not: exit status 1.
    Bad,
}

/// A database that is ready to work on.
struct OfflineStore {
    pool: PgPool,
    store: PgEventStore,
    upcasters: Arc<UpcasterChain>,
    postgres: Option<PrivatePostgres>,
}

impl OfflineStore {
    async fn open(args: &StoreArgs) -> anyhow::Result<Self> {
        let (url, postgres) = match args.database_url.as_ref().filter(|url| !url.is_empty()) {
            Some(url) => (url.clone(), None),
            None => embedded(&args.data_dir).await?,
        };
        let connect = postgres::connect_options(&url)?;
        wait_for_database(&connect, args.allow_unsafe_database).await?;
        let options = WriterOptions::default();
        let key_ttl = options.key_ttl;
        let (writer, handle) = Writer::new(connect.clone(), options, FreshEvents::default());
        #[expect(
            clippy::disallowed_methods,
            reason = "ends when its last handle is dropped"
        )]
        tokio::spawn(writer.run());
        let pool = postgres::pool(connect, 8);
        let store = PgEventStore::new(pool.clone(), handle, key_ttl);
        let upcasters = Arc::new(upcasters(args.currency()?)?);
        Ok(Self {
            pool,
            store,
            upcasters,
            postgres,
        })
    }

    fn projector(&self) -> Projector<PgEventStore> {
        Projector::new(
            self.pool.clone(),
            self.store.clone(),
            Arc::clone(&self.upcasters),
        )
    }

    async fn close(mut self) {
        self.pool.close().await;
        if let Some(postgres) = &mut self.postgres {
            postgres.stop().await;
        }
    }
}

/// The embedded PostgreSQL of a data directory: that of the running service, or one started now.
async fn embedded(data_dir: &Path) -> anyhow::Result<(String, Option<PrivatePostgres>)> {
    if !data_dir.join("postgres").exists() {
        bail!(
            "DATABASE_URL is not set, and {} holds no embedded database",
            data_dir.display()
        );
    }
    let options = EmbeddedOptions::new(data_dir);
    if let Some(url) = PrivatePostgres::running(&options)? {
        return Ok((url, None));
    }
    let postgres = PrivatePostgres::start(&options).await?;
    Ok((postgres.database_url(), Some(postgres)))
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output cannot be written")
}

/// Brings the schema up to date.
///
/// # Errors
/// Where the database cannot be reached or used.
pub async fn migrate(args: &StoreArgs) -> anyhow::Result<Outcome> {
    OfflineStore::open(args).await?.close().await;
    say("the schema is up to date")?;
    Ok(Outcome::Good)
}

/// Applies what the read model lacks, or rebuilds it.
///
/// # Errors
/// Where the database fails, or another rebuild runs.
pub async fn replay(args: &ReplayArgs) -> anyhow::Result<Outcome> {
    let workshop = OfflineStore::open(&args.store).await?;
    let progress = Progress::start("events");
    if args.full {
        rebuild(&workshop, args.dry_run, &progress).await?;
    } else {
        let last = postgres::last_position(&workshop.pool)
            .await?
            .get()
            .unsigned_abs();
        let to = |position: i64| progress.set(position.unsigned_abs(), last);
        let reached = workshop
            .projector()
            .catch_up(|position| to(position.get()))
            .await?;
        progress.finish();
        say(&format!(
            "the read model holds every event up to position {reached}"
        ))?;
    }
    workshop.close().await;
    Ok(Outcome::Good)
}

async fn rebuild(
    workshop: &OfflineStore,
    is_dry_run: bool,
    progress: &Progress,
) -> anyhow::Result<()> {
    let show = |at: RebuildProgress| {
        progress.phase(match at.phase {
            Phase::Fill => "folding",
            Phase::Index => "indexing",
            Phase::Compare => "comparing",
            Phase::Switch => "switching",
        });
        progress.set(
            at.position.get().unsigned_abs(),
            at.target.get().unsigned_abs(),
        );
    };
    let rebuilt = Rebuild::new(workshop.projector())
        .run(is_dry_run, show)
        .await?;
    progress.finish();
    let seconds = progress.elapsed().as_secs_f64();
    let (events, differing) = (rebuilt.events, rebuilt.differing);
    say(&format!(
        "{events} events folded in {seconds:.1} s; {differing} orders differed"
    ))?;
    for difference in &rebuilt.examples {
        let missing = || "nothing".to_owned();
        let (live, new) = (difference.live.clone(), difference.rebuilt.clone());
        let (live, new) = (live.unwrap_or_else(missing), new.unwrap_or_else(missing));
        let (order, field) = (difference.order_id, &difference.field);
        say(&format!("  order {order}: {field} was {live}, is {new}"))?;
    }
    say(if rebuilt.is_switched {
        "the rebuilt tables serve now"
    } else {
        "dry run: the live tables were left as they are"
    })
}

/// Checks store and read model.
///
/// # Errors
/// Where the database fails.
pub async fn verify(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let workshop = OfflineStore::open(&args.store).await?;
    let progress = Progress::start("orders");
    let verify = Verify::new(workshop.projector());
    let report = verify
        .run(
            args.repair,
            |at| progress.set(at.done, at.total),
            |finding| {
                // A closed output ends the listing, not the verification.
                let _ = say(&finding.to_string());
            },
        )
        .await?;
    progress.finish();
    workshop.close().await;
    let (orders, events) = (report.orders, report.events);
    say(&format!(
        "{orders} orders and {events} events verified: {} differences in the store, {} in the \
         read model ({} orders, {} folded anew)",
        report.in_store, report.in_read_model, report.differing_orders, report.repaired
    ))?;
    Ok(if report.is_clean() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// Lists the parked orders.
///
/// # Errors
/// Where the database fails.
pub async fn list_parked(args: &StoreArgs) -> anyhow::Result<Outcome> {
    let workshop = OfflineStore::open(args).await?;
    let parked = workshop.projector().parked().await?;
    workshop.close().await;
    for order in &parked {
        let (id, version, event) = (order.order_id, order.version, &order.event_type);
        say(&format!(
            "{id} at version {version} ({event}): {}",
            order.reason
        ))?;
    }
    say(&format!("{} orders are parked", parked.len()))?;
    Ok(Outcome::Good)
}

/// Folds parked orders anew.
///
/// # Errors
/// Where the database fails.
pub async fn retry_parked(args: &StoreArgs, orders: &[Uuid]) -> anyhow::Result<Outcome> {
    let workshop = OfflineStore::open(args).await?;
    let projector = workshop.projector();
    let all = projector
        .parked()
        .await?
        .into_iter()
        .map(|parked| parked.order_id);
    let orders: Vec<_> = if orders.is_empty() {
        all.collect()
    } else {
        orders.iter().copied().map(OrderId::new).collect()
    };
    let mut still = 0;
    for id in &orders {
        match projector.refold(*id).await? {
            Refolded::Whole => say(&format!("{id} is whole again"))?,
            Refolded::Parked(parked) => {
                still += 1;
                say(&format!("{id} stays parked: {}", parked.reason))?;
            }
        }
    }
    workshop.close().await;
    Ok(if still == 0 {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// Imports a file.
///
/// # Errors
/// Where the file cannot be read, or the database fails.
pub async fn import(args: &ImportArgs) -> anyhow::Result<Outcome> {
    let (currency, default_customer) = import_values(args)?;
    let source = {
        let (file, columns) = (args.file.clone(), args.columns.clone());
        tokio::task::spawn_blocking(move || Source::open(&file, &columns)).await??
    };
    let workshop = OfflineStore::open(&args.store).await?;
    let options = RepositoryOptions {
        cached_aggregates: 1000,
    };
    let upcasters = Arc::clone(&workshop.upcasters);
    let orders = Repository::<Order, _>::new(workshop.store.clone(), upcasters, options);
    let rejects = args
        .rejects
        .clone()
        .unwrap_or_else(|| default_rejects(&args.file));
    let places = source.places;
    let import = Import {
        drafting: Drafting {
            source: args.source.clone(),
            currency,
            default_customer,
            places,
        },
        source,
        is_completed: args.status == ImportStatus::Completed,
        rejects: rejects.clone(),
        clock: now,
    };
    let progress = Progress::start("lines");
    let imported = import.run(Arc::new(orders), &progress).await?;
    progress.finish();
    workshop.close().await;
    let seconds = progress.elapsed().as_secs_f64();
    say(&format!(
        "{} orders with {} lines imported in {seconds:.1} s; {} orders were there already; {} \
         orders with {} lines refused",
        imported.orders, imported.lines, imported.present, imported.refused, imported.refused_lines
    ))?;
    if imported.refused > 0 {
        say(&format!(
            "the refused orders and their reasons are in {}",
            rejects.display()
        ))?;
    }
    Ok(if args.strict && imported.refused > 0 {
        Outcome::Bad
    } else {
        Outcome::Good
    })
}

fn import_values(args: &ImportArgs) -> anyhow::Result<(Currency, Option<CustomerId>)> {
    let mut problems = vec![];
    let code = args
        .currency
        .as_ref()
        .unwrap_or(&args.store.default_currency);
    let currency = code.parse::<Currency>();
    if let Err(error) = &currency {
        problems.push(format!("--currency: {error}"));
    }
    let customer = args
        .default_customer
        .as_deref()
        .map(CustomerId::parse)
        .transpose();
    if let Err(error) = &customer {
        problems.push(format!("--default-customer {error}"));
    }
    match (currency, customer) {
        (Ok(currency), Ok(customer)) => Ok((currency, customer)),
        _ => Err(ConfigProblems(problems).into()),
    }
}

fn default_rejects(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".rejects.csv");
    path.into()
}
