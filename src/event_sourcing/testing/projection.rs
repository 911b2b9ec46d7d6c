//! Delivering events as badly as a broker may.

use crate::event_sourcing::{
    Epoch, Position, RecordedEvent,
    projection::{Delivery, Projection},
};

/// Delivers events in order, each one twice, and then all of them once more, late. A sound
/// projection shows afterwards what it shows after a single delivery.
pub async fn deliver_twice_and_late<P: Projection>(
    projection: &P,
    events: &[RecordedEvent],
    epoch: Epoch,
) {
    let mut previous = Position::ZERO;
    let mut deliveries = vec![];
    for event in events {
        deliveries.push(Delivery {
            previous,
            event: event.clone(),
        });
        previous = event.position;
    }
    for delivery in &deliveries {
        let twice = vec![delivery.clone(), delivery.clone()];
        projection.apply(twice, epoch).await.unwrap();
    }
    let reached = projection.apply(deliveries, epoch).await.unwrap();
    assert_eq!(
        reached, previous,
        "the checkpoint is that of the last event"
    );
}
