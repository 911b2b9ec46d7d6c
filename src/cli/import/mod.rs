//! `orders import`: turns the order lines of a CSV file into commands, on the same path as HTTP
//! requests. Reading the arguments and connecting to the store do not belong here.
//!
//! Order ids are derived from the order numbers in the file, so an import can be repeated: existing
//! orders stay as they are. An order with one invalid line is refused as a whole.

pub mod draft;
pub mod rejects;
pub mod source;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::warn;

use super::progress::Progress;
use crate::{
    event_sourcing::{ExecuteError, Executed, Metadata, Request, Timestamp},
    order::{OrderCommand, OrderError, OrderId, Orders, Status},
};
use draft::{Drafting, Refusal};
use rejects::Rejects;
use source::{Source, SourceOrder};

/// How many orders are imported concurrently.
const CONCURRENCY: usize = 128;
/// How often a command is tried while the store does not answer.
const ATTEMPTS: u32 = 30;

/// An import that can be run.
pub struct Import {
    /// The file.
    pub source: Source,
    /// Makes commands from its lines.
    pub drafting: Drafting,
    /// Whether to complete the orders.
    pub is_completed: bool,
    /// The file for refused orders.
    pub rejects: PathBuf,
    /// Returns the time of a command.
    pub clock: fn() -> Timestamp,
}

/// The counts of a finished import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Orders that were created.
    pub orders: u64,
    /// Lines of the created orders.
    pub lines: u64,
    /// Orders that existed before.
    pub present: u64,
    /// Orders that were refused.
    pub refused: u64,
    /// Lines of the refused orders.
    pub refused_lines: u64,
}

/// The result for one order.
enum OrderOutcome {
    Created,
    Present,
    Refused(Refusal),
}

impl Import {
    /// Imports every order of the file.
    ///
    /// # Errors
    /// If the file cannot be read, the rejects cannot be written, or the store does not answer for
    /// too long. Imported orders stay, and the import can be repeated.
    pub async fn run(
        self,
        orders: Arc<dyn Orders<()>>,
        progress: &Progress,
    ) -> anyhow::Result<Imported> {
        let Self {
            source,
            drafting,
            is_completed,
            rejects,
            clock,
        } = self;
        let total = source.lines;
        let mut rejects = Rejects::new(&rejects, source.heading.clone())
            .with_context(|| format!("{} cannot be replaced", rejects.display()))?;
        let (send, mut read) = mpsc::channel(CONCURRENCY);
        let reading = tokio::task::spawn_blocking(move || {
            source.read(|order| send.blocking_send(order).is_ok())
        });
        let (drafting, mut running) = (Arc::new(drafting), JoinSet::new());
        let (mut imported, mut done) = (Imported::default(), 0);
        loop {
            let next = if running.len() < CONCURRENCY {
                read.recv().await
            } else {
                None
            };
            if let Some(order) = next {
                let (orders, drafting) = (Arc::clone(&orders), Arc::clone(&drafting));
                running.spawn(async move {
                    let outcome =
                        import_order(&*orders, &drafting, &order, is_completed, clock).await;
                    (order, outcome)
                });
                continue;
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let (order, outcome) = ended.context("a command panicked")?;
            let lines = order.lines.len() as u64;
            count(&mut imported, lines, &outcome?, &order, &mut rejects)?;
            done += lines;
            progress.set(done, total);
        }
        reading.await.context("the reader of the file panicked")??;
        rejects.finish().context("the rejects cannot be written")?;
        Ok(imported)
    }
}

fn count(
    imported: &mut Imported,
    lines: u64,
    outcome: &OrderOutcome,
    order: &SourceOrder,
    rejects: &mut Rejects,
) -> anyhow::Result<()> {
    match outcome {
        OrderOutcome::Created => {
            imported.orders += 1;
            imported.lines += lines;
        }
        OrderOutcome::Present => imported.present += 1,
        OrderOutcome::Refused(refusal) => {
            imported.refused += 1;
            imported.refused_lines += lines;
            rejects
                .write(order, refusal)
                .context("the rejects cannot be written")?;
        }
    }
    Ok(())
}

async fn import_order(
    orders: &dyn Orders<()>,
    drafting: &Drafting,
    order: &SourceOrder,
    is_completed: bool,
    clock: fn() -> Timestamp,
) -> anyhow::Result<OrderOutcome> {
    let draft = match drafting.draft(order) {
        Ok(draft) => draft,
        Err(refusal) => return Ok(OrderOutcome::Refused(refusal)),
    };
    let metadata = Metadata {
        request_id: Some(format!("import-{}", draft.id)),
        correlation_id: Some(format!("import {} {}", drafting.source, draft.number)),
        ..Metadata::default()
    };
    let metadata = Arc::new(metadata);
    let created = execute(orders, draft.id, draft.command, &metadata, clock).await?;
    let is_new = match created {
        Ok(executed) => executed.has_changed,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    if is_completed {
        match execute(orders, draft.id, OrderCommand::Complete, &metadata, clock).await? {
            Ok(_)
            | Err(OrderError::NotOpen {
                status: Status::Completed,
            }) => {}
            Err(refusal) => return Ok(refused(&refusal)),
        }
    }
    Ok(if is_new {
        OrderOutcome::Created
    } else {
        OrderOutcome::Present
    })
}

fn refused(refusal: &OrderError) -> OrderOutcome {
    OrderOutcome::Refused(Refusal {
        line: None,
        reason: refusal.to_string(),
    })
}

/// Executes a command, and repeats it while the store does not answer. Creating and completing an
/// order can be repeated safely.
async fn execute(
    orders: &dyn Orders<()>,
    id: OrderId,
    command: OrderCommand,
    metadata: &Arc<Metadata>,
    clock: fn() -> Timestamp,
) -> anyhow::Result<Result<Executed<()>, OrderError>> {
    for attempt in 1..=ATTEMPTS {
        let request = Request {
            id: id.get(),
            command: command.clone(),
            expected: None,
            is_new: false,
            key: None,
            metadata: Arc::clone(metadata),
            now: clock(),
        };
        let executed = match orders.claim(request).await {
            Ok(claimed) => orders.run(claimed, |_, _| ()).await,
            Err(error) => Err(error),
        };
        match executed {
            Ok(executed) => return Ok(Ok(executed)),
            Err(ExecuteError::Refused(refusal)) => return Ok(Err(refusal)),
            Err(ExecuteError::Store(error)) if error.is_transient() && attempt < ATTEMPTS => {
                warn!(error = &error as &dyn std::error::Error, %id, attempt, "trying again");
                sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(anyhow!(error).context(format!("order {id}"))),
        }
    }
    Err(anyhow!(
        "order {id}: the store did not answer {ATTEMPTS} times"
    ))
}
