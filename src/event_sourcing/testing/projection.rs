//! Delivers events to a projection as a broker with at-least-once delivery can.

use crate::event_sourcing::{
    Epoch, Position, RecordedEvent,
    projection::{Delivery, Projection},
};

/// Delivers each event twice, in order, and then all of them once more. A correct projection shows
/// the same afterwards as after a single delivery.
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
