//! `orders import`: imports the order lines of a file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    offline_store::OfflineStore,
    output::{CommandOutcome, print_line},
};
use crate::{
    app::config::ConfigProblems,
    cli::{
        arguments::{ImportArgs, ImportStatus},
        import::{Import, Imported, draft::Drafting, source::Source},
        progress::Progress,
    },
    event_sourcing::{Repository, repository::RepositoryOptions},
    http::request::context::now,
    order::{Currency, CustomerId, Order},
};

/// How many orders are kept in memory.
const CACHED_ORDERS: u64 = 1000;

/// Imports the order lines of a file. With `--strict`, a refused order is an
/// [`CommandOutcome::Problem`].
///
/// # Errors
/// The file cannot be read, or the database fails.
pub async fn import(args: &ImportArgs) -> anyhow::Result<CommandOutcome> {
    let (currency, default_customer) = import_values(args)?;
    let source = {
        let (file, columns) = (args.file.clone(), args.columns.clone());
        tokio::task::spawn_blocking(move || Source::open(&file, &columns)).await??
    };
    let store = OfflineStore::open(&args.store).await?;
    let orders = Repository::<Order, _>::new(
        store.store.clone(),
        Arc::clone(&store.upcasters),
        RepositoryOptions {
            cached_aggregates: CACHED_ORDERS,
        },
    );
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
    store.close().await;
    print_summary(&imported, progress.elapsed().as_secs_f64(), &rejects)?;
    Ok(CommandOutcome::from_success(
        !args.strict || imported.refused == 0,
    ))
}

fn print_summary(imported: &Imported, seconds: f64, rejects: &Path) -> anyhow::Result<()> {
    print_line(&format!(
        "{} orders with {} lines imported in {seconds:.1} s; {} orders existed already; {} orders \
         with {} lines refused",
        imported.orders, imported.lines, imported.present, imported.refused, imported.refused_lines
    ))?;
    if imported.refused > 0 {
        print_line(&format!(
            "the refused orders and the reasons are in {}",
            rejects.display()
        ))?;
    }
    Ok(())
}

/// The currency and the default customer. Reports the problems of both.
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
