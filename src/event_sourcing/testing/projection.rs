//! Brings events to a projection again and again, as a subscriber does that has lost its place.

use std::sync::Arc;

use crate::event_sourcing::{Epoch, Position, RecordedEvent, projection::Projection};

/// Applies `events`, which are all of a store, one after another and each of them twice, and then all of
/// them once more. A correct projection shows the same afterwards as after applying each once.
pub async fn apply_twice_and_late<P: Projection>(
    projection: &P,
    events: &[Arc<RecordedEvent>],
    epoch: Epoch,
) {
    let mut after = Position::ZERO;
    for event in events {
        let event = std::slice::from_ref(event);
        for _ in 0..2 {
            projection.apply(after, event, epoch).await.unwrap();
        }
        after = event[0].position;
    }
    let reached = projection.apply(Position::ZERO, events, epoch).await;
    assert_eq!(
        reached.unwrap(),
        after,
        "the checkpoint is that of the last event"
    );
}
