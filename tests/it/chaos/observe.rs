//! Collects what the checker needs at the end of a round: store, stream, read model and history.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{self, consumer::pull::OrderedConfig},
};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use sqlx::{Acquire, Executor, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{
    fleet::Fleet,
    history::{Attempt, Command, History, Read},
};

/// How long the fleet may take to catch up with everything.
const QUIET_LIMIT: Duration = Duration::from_mins(1);
/// How long it must stay caught up: commands with unknown outcomes may still arrive.
const QUIET_FOR: Duration = Duration::from_millis(200);
/// How long reading the stream may take without a message.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);

/// A stored event.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Event {
    pub position: i64,
    pub id: Uuid,
    pub order: Uuid,
    pub version: i32,
    pub name: String,
    pub data: String,
    pub request_id: String,
    pub at: DateTime<Utc>,
}

/// An order as the read model shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct View {
    pub id: Uuid,
    pub customer_id: String,
    pub status: String,
    pub total_minor: i64,
    pub item_count: i32,
    pub total_quantity: i64,
    pub version: i32,
    pub position: i64,
    pub cancellation_reason: Option<String>,
    /// Items with quantity and price, in order of addition.
    #[sqlx(json)]
    pub items: Vec<(Uuid, String, u32, i64)>,
}

/// Everything that is checked.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub commands: Vec<Command>,
    pub attempts: Vec<Attempt>,
    pub reads: Vec<Read>,
    /// In order of position.
    pub events: Vec<Event>,
    /// Positions and event ids of the stream's messages, in the stream's order.
    pub stream: Vec<(i64, Uuid)>,
    /// Up to which position the stream may lack events, because it was purged.
    pub purged: i64,
    pub views: Vec<View>,
    /// Orders that are parked, and why.
    pub parked: Vec<(Uuid, String)>,
    pub checkpoint: i64,
    /// Every move of the checkpoint: position and epoch.
    pub checkpoint_moves: Vec<(i64, i64)>,
    /// Other failures: processes that ended, a fleet that does not catch up.
    pub failures: Vec<String>,
}

/// Waits until both instances run and everything has caught up.
pub async fn wait_until_quiet(fleet: &Fleet<'_>) -> Result<(), String> {
    let deadline = Instant::now() + QUIET_LIMIT;
    let mut quiet_since = None;
    loop {
        let behind = match behind(fleet).await {
            Ok(None) => {
                let since = *quiet_since.get_or_insert_with(Instant::now);
                if since.elapsed() > QUIET_FOR {
                    return Ok(());
                }
                "caught up, but not for long enough".to_owned()
            }
            Ok(Some(behind)) => {
                quiet_since = None;
                behind
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(format!("not caught up within {QUIET_LIMIT:?}: {behind}"));
        }
        sleep(Duration::from_millis(25)).await;
    }
}

/// What has not caught up; `None` if all has.
async fn behind(fleet: &Fleet<'_>) -> anyhow::Result<Option<String>> {
    if fleet.urls().iter().any(|url| url.borrow().is_none()) {
        return Ok(Some("an instance does not listen".to_owned()));
    }
    let (stored, checkpoint): (i64, i64) = sqlx::query_as(
        "select coalesce((select max(position) from events), 0),
                (select position from projection_checkpoint where name = 'orders')",
    )
    .fetch_one(&fleet.database)
    .await?;
    if checkpoint < stored {
        return Ok(Some(format!("the projector: {checkpoint} of {stored}")));
    }
    let Some(jetstream) = fleet.jetstream().await else {
        return Ok(Some("NATS does not answer".to_owned()));
    };
    let state = jetstream
        .get_stream(&fleet.stream)
        .await?
        .cached_info()
        .state
        .clone();
    if state.messages == 0 {
        // Events that the read model already holds need not be published again after a purge.
        let is_emptied = *fleet.purged.lock().await >= stored;
        return Ok((!is_emptied).then(|| "the stream is empty".to_owned()));
    }
    let stream = jetstream.get_stream_no_info(&fleet.stream).await?;
    let last = stream.get_raw_message(state.last_sequence).await?;
    let (position, id) = identity(&last.headers)?;
    if fleet.forged.lock().await.contains(&id) {
        return Ok(Some("the stream ends with a forged message".to_owned()));
    }
    Ok((position < stored).then(|| format!("the stream: {position} of {stored}")))
}

/// Collects everything. The fleet must be quiet.
pub async fn observe(fleet: &Fleet<'_>, history: &History) -> anyhow::Result<Observed> {
    let (commands, attempts, reads) = history.all();
    let mut observed = Observed {
        commands,
        attempts,
        reads,
        purged: *fleet.purged.lock().await,
        ..Observed::default()
    };
    let mut connection = fleet.database.acquire().await?;
    let mut snapshot = connection.begin().await?;
    snapshot
        .execute("set transaction isolation level repeatable read")
        .await?;
    tables(&mut snapshot, &mut observed).await?;
    snapshot.rollback().await?;
    observed.stream = stream(fleet).await?;
    if let Err(difference) = fleet.verify().await {
        observed.failures.push(difference);
    }
    Ok(observed)
}

/// Reads all tables, in one snapshot.
async fn tables(snapshot: &mut PgConnection, observed: &mut Observed) -> anyhow::Result<()> {
    observed.events = sqlx::query_as(
        r#"select position, event_id as id, aggregate_id as "order", version, type as name,
                  data::text as data, coalesce(metadata ->> 'requestId', '') as request_id,
                  created_at as at
           from events order by position"#,
    )
    .fetch_all(&mut *snapshot)
    .await?;
    observed.views = sqlx::query_as(
        "select id, customer_id, status, total_minor, item_count, total_quantity, version,
                position, cancellation_reason,
                (select coalesce(jsonb_agg(jsonb_build_array(i.item_id, i.product_id, i.quantity,
                                                             i.price_minor) order by i.line_no), '[]')
                 from order_items i where i.order_id = v.id) as items
         from order_views v",
    )
    .fetch_all(&mut *snapshot)
    .await?;
    observed.parked = sqlx::query_as("select order_id, reason from projection_parked")
        .fetch_all(&mut *snapshot)
        .await?;
    observed.checkpoint =
        sqlx::query_scalar("select position from projection_checkpoint where name = 'orders'")
            .fetch_one(&mut *snapshot)
            .await?;
    observed.checkpoint_moves =
        sqlx::query_as("select position, epoch from chaos_checkpoint_moves order by number")
            .fetch_all(&mut *snapshot)
            .await?;
    Ok(())
}

/// Reads every message of the stream: position and event id.
async fn stream(fleet: &Fleet<'_>) -> anyhow::Result<Vec<(i64, Uuid)>> {
    let jetstream = fleet
        .jetstream()
        .await
        .ok_or_else(|| anyhow::anyhow!("NATS does not answer"))?;
    let stream: jetstream::stream::Stream = jetstream.get_stream(&fleet.stream).await?;
    let count = usize::try_from(stream.cached_info().state.messages)?;
    if count == 0 {
        return Ok(vec![]);
    }
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?.take(count);
    let mut found = Vec::with_capacity(count);
    while let Some(message) = timeout(MESSAGE_LIMIT, messages.next()).await? {
        let message = message?;
        let (position, id) = identity(message.headers.as_ref().unwrap_or(&HeaderMap::new()))?;
        if !fleet.forged.lock().await.contains(&id) {
            found.push((position, id));
        }
    }
    Ok(found)
}

/// The position and the id of a message's event.
fn identity(headers: &HeaderMap) -> anyhow::Result<(i64, Uuid)> {
    let header = |name| headers.get(name).map_or("", |value| value.as_str());
    Ok((
        header("Event-Position").parse()?,
        header("Event-Id").parse()?,
    ))
}
