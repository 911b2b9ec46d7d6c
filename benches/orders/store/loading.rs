//! Loads of a long order with and without a snapshot, compared with a short one. With a snapshot, an
//! order of 5,000 events loads in about the time of one of 100.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta};
use orders::{
    event_sourcing::{
        Append, EventStore, Metadata, NewEvent, Repository, SnapshotStore, Version,
        repository::{RepositoryOptions, stream_of},
        store::Until,
    },
    order::{Order, upcasters::upcasters},
    postgres::PgSnapshotStore,
};
use serde_json::{json, value::to_raw_value};
use uuid::Uuid;

use super::Store;
use crate::report::{Details, Figure, Report, median};

pub const WITH_SNAPSHOT: &str = "load 5,000 events, snapshot";
pub const WITHOUT: &str = "load 5,000 events, without";

/// How often each load is measured.
const ROUNDS: usize = 41;

/// Measures loads of a short and a long order, with and without a snapshot, in turn.
pub async fn measure(store: &Store, report: &mut Report) -> anyhow::Result<()> {
    let upcasters = Arc::new(upcasters("EUR".parse()?)?);
    let options = RepositoryOptions {
        cached_aggregates: 0,
    };
    let repository = Repository::<Order, _>::new(store.events.clone(), upcasters, options);
    let [short, long, snapped] = [100, 5000, 5000].map(|events| (Uuid::now_v7(), events));
    for (id, events) in [short, long, snapped] {
        place(store, id, events).await?;
    }
    let state = repository
        .load(snapped.0, Until::Version(Version::new(4950)))
        .await?;
    let state = state.map(|loaded| loaded.state).unwrap_or_default();
    let snapshots = PgSnapshotStore::new(store.pool.clone());
    snapshots
        .save(
            stream_of::<Order>(snapped.0),
            Version::new(4950),
            1,
            serde_json::to_string(&state)?,
        )
        .await?;

    let mut took = [vec![], vec![], vec![]];
    for _ in 0..ROUNDS {
        for ((id, events), took) in [short, long, snapped].iter().zip(&mut took) {
            let began = Instant::now();
            let loaded = repository.load(*id, Until::Now).await?;
            took.push(began.elapsed().as_secs_f64() * 1e6);
            anyhow::ensure!(loaded.is_some_and(|loaded| loaded.version.get() == *events));
        }
    }
    let [short, long, snapped] = took.map(median);
    for (name, value) in [(WITH_SNAPSHOT, snapped), (WITHOUT, long)] {
        let figure = Figure {
            value,
            unit: "µs",
            floor: "100 events",
            floor_value: short,
        };
        report.add(name, figure, Details::default());
    }
    Ok(())
}

/// Stores an order of one line whose quantity changes repeatedly.
async fn place(store: &Store, id: Uuid, events: i32) -> anyhow::Result<()> {
    let item = Uuid::now_v7();
    for version in 0..events {
        let (event_type, schema_version, data) = if version == 0 {
            let line = json!({"itemId": item, "productId": "p", "quantity": 1, "price": "1.00"});
            let data =
                json!({"orderId": id, "customerId": "c", "currency": "EUR", "items": [line]});
            ("OrderCreated", 3, data)
        } else {
            let data = json!({"itemId": item, "quantity": version % 9 + 1});
            ("OrderItemQuantityChanged", 1, data)
        };
        let event_id = Uuid::now_v7();
        let data = to_raw_value(&data)?;
        let append = Append {
            command_id: Uuid::now_v7(),
            stream: stream_of::<Order>(id),
            expected: Version::new(version),
            events: vec![NewEvent {
                event_id,
                event_type,
                schema_version,
                data,
            }],
            occurred_at: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(version.into()),
            metadata: to_raw_value(&Metadata::default())?,
            key: None,
        };
        store.events.append(append).await?;
    }
    Ok(())
}
