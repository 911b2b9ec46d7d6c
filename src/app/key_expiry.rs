//! Deletes idempotency keys that have expired, a batch at a time.

use std::{future::Future, time::Duration};

use tokio::time::sleep;
use tracing::warn;

use crate::{event_sourcing::StoreError, postgres::idempotency::CLEAR_BATCH};

/// The pause after a batch that was not full: no more keys have expired for now.
const PAUSE: Duration = Duration::from_secs(30);

/// Calls `clear`, which deletes one batch and returns its size, for ever.
pub(super) async fn run<F>(mut clear: impl FnMut() -> F)
where
    F: Future<Output = Result<u64, StoreError>>,
{
    loop {
        let pause = pause_after(clear().await);
        sleep(pause).await;
    }
}

/// How long to wait before the next batch: only after a full batch there may be more expired keys.
fn pause_after(cleared: Result<u64, StoreError>) -> Duration {
    match cleared {
        Ok(cleared) if cleared >= u64::from(CLEAR_BATCH) => Duration::ZERO,
        Ok(_) => PAUSE,
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "cannot delete expired idempotency keys"
            );
            PAUSE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_full_batch_is_followed_by_the_next_at_once() {
        let full = u64::from(CLEAR_BATCH);
        let batches = [Ok(full), Ok(full), Ok(full - 1), Ok(1), Ok(0)];
        let mut batches = batches
            .into_iter()
            .chain([Err(StoreError::Overloaded), Ok(0)]);
        let started = Instant::now();
        let seconds = RefCell::new(vec![]);

        let running = run(|| {
            seconds.borrow_mut().push(started.elapsed().as_secs());
            let batch = batches.next().expect("fewer batches");
            async { batch }
        });
        let is_over = timeout(Duration::from_secs(130), running).await.is_ok();

        assert!(!is_over);
        assert_eq!(*seconds.borrow(), [0, 0, 0, 30, 60, 90, 120]);
    }
}
