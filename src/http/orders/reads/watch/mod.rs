//! The position of the read model, watched for all reads that wait for it.
//!
//! The projector may run in another process, so somebody must look at the database. That is one of the
//! reads that wait, every 10 ms, for all of them: a thousand reads cost the database what one costs.
//! When it has what it waits for, or its client hangs up, another one takes its turn. So nobody looks
//! while nobody waits.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};

use crate::event_sourcing::Position;

/// The time between two looks.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The last reports of the read model's position. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct PositionWatch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The position that was reported last. It may fall: a crash of PostgreSQL takes rows back.
    reported: watch::Sender<Position>,
    /// When the database was last looked at. Locked by the read that looks for all.
    last_look: Mutex<Option<Instant>>,
}

impl PositionWatch {
    /// The projector has applied the events up to this position, in the database that reads look at.
    pub fn projected(&self, position: Position) {
        self.0.reported.send_replace(position);
    }

    /// The position that was reported last.
    pub(super) fn reported(&self) -> Position {
        *self.0.reported.borrow()
    }

    /// Whether it is known that the read model has not reached this position: somebody looks every
    /// 10 ms and has not seen it.
    pub(super) fn is_known_behind(&self, required: Position) -> bool {
        self.reported() < required && self.0.last_look.try_lock().is_err()
    }

    /// The reports from now on.
    pub(super) fn reports(&self) -> Reports {
        Reports {
            watch: Arc::clone(&self.0),
            new: self.0.reported.subscribe(),
        }
    }
}

/// The reports since a query began.
#[derive(Debug)]
pub(super) struct Reports {
    watch: Arc<Shared>,
    new: watch::Receiver<Position>,
}

impl Reports {
    /// Reports what the query has found. A report that came during the query counts if it is higher.
    pub(super) fn add(&self, found: Position) {
        self.watch.reported.send_if_modified(|reported| {
            let came_meanwhile = self.new.has_changed().unwrap_or(false);
            let is_news = found > *reported || (found < *reported && !came_meanwhile);
            if is_news {
                *reported = found;
            }
            is_news
        });
    }

    /// Waits until this position is reported; returns `false` if it is not until `deadline`. Calls
    /// `look` every 10 ms, unless another read does it.
    ///
    /// # Errors
    /// As `look`.
    pub(super) async fn wait_for<E, F: Future<Output = Result<Position, E>>>(
        &mut self,
        required: Position,
        deadline: Instant,
        look: impl Fn() -> F,
    ) -> Result<bool, E> {
        // The query before this call was a look, too.
        let began = Instant::now();
        let watch = Arc::clone(&self.watch);
        let mut last_look = select! {
            // In this order: who need not wait any longer does not look.
            biased;
            () = reported(&mut self.new, required) => return Ok(true),
            () = sleep_until(deadline) => return Ok(false),
            last_look = watch.last_look.lock() => last_look,
        };
        loop {
            let last = last_look.map_or(began, |last| last.max(began));
            // A look is never dropped midway: that would close its connection.
            select! {
                biased;
                () = reported(&mut self.new, required) => return Ok(true),
                () = sleep_until(deadline) => return Ok(false),
                () = sleep_until(last + LOOK_AGAIN) => {}
            }
            *last_look = Some(Instant::now());
            self.new.mark_unchanged();
            let found = look().await?;
            self.add(found);
        }
    }
}

/// Returns once this position is reported.
async fn reported(new: &mut watch::Receiver<Position>, required: Position) {
    // An error is impossible: the sender lives as long as the reports.
    let _ = new.wait_for(|reported| *reported >= required).await;
}

#[cfg(test)]
mod tests;
