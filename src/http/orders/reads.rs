//! Reading the read model no earlier than a client asks for.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use crate::http::{
    problem::error::{ApiError, Code},
    request::consistency::Consistency,
};
use crate::{
    event_sourcing::{Position, StoreError},
    read_model::{FoundOrder, HotViews, ListPage, OrderViews},
};

/// How often a waiting read looks again where nothing wakes it: another process may be the one that
/// projects.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The read model, and what wakes those who wait for it.
#[derive(Debug, Clone)]
pub struct Reads {
    /// The queries.
    pub views: OrderViews,
    /// What was read lately, where this process projects.
    pub hot_views: HotViews,
    /// Notified whenever this process has moved the read model on.
    pub projected: Arc<Notify>,
    /// To be notified whenever a read waits for that.
    pub awaited: Arc<Notify>,
}

/// Something that was read together with the position that it is of.
pub trait AsOf {
    /// Up to which event the read model was complete when this was read.
    fn position(&self) -> Position;
}

impl AsOf for FoundOrder {
    fn position(&self) -> Position {
        self.projection_position
    }
}

impl AsOf for ListPage {
    fn position(&self) -> Position {
        self.projection_position
    }
}

impl AsOf for Position {
    fn position(&self) -> Position {
        *self
    }
}

impl Reads {
    /// Reads until what is read holds what `consistency` requires. Position and rows come from one
    /// statement, so the promise holds whatever replica answers.
    ///
    /// # Errors
    /// 503 `read_model_behind` where the wait was too short, and what the query fails with.
    pub async fn until<T: AsOf, F: Future<Output = Result<T, StoreError>> + Send>(
        &self,
        consistency: &Consistency,
        read: impl Fn(OrderViews) -> F + Send,
    ) -> Result<T, ApiError> {
        let deadline = Instant::now() + consistency.wait;
        loop {
            let projected = self.projected.notified();
            tokio::pin!(projected);
            projected.as_mut().enable(); // armed before we look
            let found = read(self.views.clone()).await?;
            if found.position() >= consistency.required {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(ApiError::new(
                    Code::ReadModelBehind,
                    "The read model does not hold the write of this Consistency-Token yet.",
                ));
            }
            self.awaited.notify_one();
            let woken = async {
                tokio::select! {
                    () = projected => {}
                    () = sleep(LOOK_AGAIN) => {}
                }
            };
            // A wait that ends here is looked at once more, above.
            drop(timeout_at(deadline, woken).await);
        }
    }
}
