//! `orders import`: sends the order lines of a flat file through the same command path as HTTP.
//!
//! Order ids are derived from the source's order numbers, so an import can be run again: what is
//! there already stays as it is. An order with one bad line is refused whole.

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

/// How many orders are sent at once.
const CONCURRENCY: usize = 128;
/// How often a command is repeated while the store does not answer.
const TRIES: u32 = 30;

/// What to import, and how.
pub struct Import {
    /// The file.
    pub source: Source,
    /// How its lines become commands.
    pub drafting: Drafting,
    /// Whether to complete the orders.
    pub is_completed: bool,
    /// Where refused orders go.
    pub rejects: PathBuf,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Orders that were made.
    pub orders: u64,
    /// Lines of those.
    pub lines: u64,
    /// Orders that were there already.
    pub present: u64,
    /// Orders that were refused.
    pub refused: u64,
    /// Lines of those.
    pub refused_lines: u64,
}

/// What became of one order.
enum Fate {
    Made,
    Present,
    Refused(Refusal),
}

impl Import {
    /// Sends every order of the file.
    ///
    /// # Errors
    /// Where the file cannot be read, the rejects cannot be written, or the store fails for good.
    /// What was imported stays, and the import can be run again.
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
                    let fate = send_order(&*orders, &drafting, &order, is_completed, clock).await;
                    (order, fate)
                });
                continue;
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let (order, fate) = ended.context("a command died")?;
            let lines = order.lines.len() as u64;
            count(&mut imported, lines, &fate?, &order, &mut rejects)?;
            done += lines;
            progress.set(done, total);
        }
        reading.await.context("the reader died")??;
        rejects.finish().context("the rejects cannot be written")?;
        Ok(imported)
    }
}

fn count(
    imported: &mut Imported,
    lines: u64,
    fate: &Fate,
    order: &SourceOrder,
    rejects: &mut Rejects,
) -> anyhow::Result<()> {
    match fate {
        Fate::Made => {
            imported.orders += 1;
            imported.lines += lines;
        }
        Fate::Present => imported.present += 1,
        Fate::Refused(refusal) => {
            imported.refused += 1;
            imported.refused_lines += lines;
            rejects
                .write(order, refusal)
                .context("the rejects cannot be written")?;
        }
    }
    Ok(())
}

async fn send_order(
    orders: &dyn Orders<()>,
    drafting: &Drafting,
    order: &SourceOrder,
    is_completed: bool,
    clock: fn() -> Timestamp,
) -> anyhow::Result<Fate> {
    let draft = match drafting.draft(order) {
        Ok(draft) => draft,
        Err(refusal) => return Ok(Fate::Refused(refusal)),
    };
    let metadata = Metadata {
        request_id: Some(format!("import-{}", draft.id)),
        correlation_id: Some(format!("import {} {}", drafting.source, order.number)),
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
    Ok(if is_new { Fate::Made } else { Fate::Present })
}

fn refused(refusal: &OrderError) -> Fate {
    Fate::Refused(Refusal {
        line: None,
        reason: refusal.to_string(),
    })
}

/// Executes a command, again and again while the store does not answer: creating and completing
/// are safe to repeat.
async fn execute(
    orders: &dyn Orders<()>,
    id: OrderId,
    command: OrderCommand,
    metadata: &Arc<Metadata>,
    clock: fn() -> Timestamp,
) -> anyhow::Result<Result<Executed<()>, OrderError>> {
    for attempt in 1..=TRIES {
        let request = Request {
            id: id.get(),
            command: command.clone(),
            expected: None,
            is_new: false,
            key: None,
            metadata: Arc::clone(metadata),
            now: clock(),
        };
        match orders.execute(request, |_, _| ()).await {
            Ok(executed) => return Ok(Ok(executed)),
            Err(ExecuteError::Refused(refusal)) => return Ok(Err(refusal)),
            Err(ExecuteError::Store(error)) if error.is_transient() && attempt < TRIES => {
                warn!(error = &error as &dyn std::error::Error, %id, attempt, "trying again");
                sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(anyhow!(error).context(format!("order {id}"))),
        }
    }
    Err(anyhow!(
        "order {id}: the store did not answer {TRIES} times"
    ))
}
