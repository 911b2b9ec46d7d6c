//! Reads from the read model that wait for a position, and what all queries share.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use crate::http::{
    problem::{ApiError, Code},
    request::consistency::Consistency,
};
use crate::{
    event_sourcing::{Position, StoreError},
    order::OrderId,
    read_model::{FoundOrder, HotViews, ListPage, OrderViews},
};

/// How often a waiting read looks again without a notification: the projector may run in another
/// process, which cannot notify this one.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The read model, and the notifications between it and the reads that wait.
#[derive(Debug, Clone)]
pub struct Reads {
    /// The queries.
    pub views: OrderViews,
    /// The views in memory; kept only by the process that projects.
    pub hot_views: HotViews,
    /// Notified by the projector of this process when the read model has moved on.
    pub projected: Arc<Notify>,
    /// Notified by a read that starts to wait.
    pub awaited: Arc<Notify>,
}

/// The result of a query, with the position of the read model that it shows.
pub trait AsOf {
    /// The position up to which the read model was complete.
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
    /// Repeats a query until its result has the required position. Position and rows come from one
    /// statement, so this holds for every replica.
    ///
    /// # Errors
    /// 503 `read_model_behind` if the wait of the client is over, and the errors of the query.
    pub async fn until<T: AsOf, F: Future<Output = Result<T, StoreError>> + Send>(
        &self,
        consistency: &Consistency,
        read: impl Fn(OrderViews) -> F + Send,
    ) -> Result<T, ApiError> {
        let deadline = Instant::now() + consistency.wait;
        loop {
            let projected = self.projected.notified();
            tokio::pin!(projected);
            // Registered before the query, or a notification during the query would be lost.
            projected.as_mut().enable();
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
            // At the deadline the loop queries once more before it gives up.
            drop(timeout_at(deadline, woken).await);
        }
    }

    /// Waits for the required position and returns the position of the read model.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn position(&self, consistency: &Consistency) -> Result<Position, ApiError> {
        self.until(consistency, |views| async move { views.position().await })
            .await
    }
}

/// An error with the position of the read model, as every read has: what is missing at this
/// position may be there at a later one.
pub(super) fn refuse(error: ApiError, consistency: &Consistency, position: Position) -> Response {
    let mut response = error.into_response();
    consistency.write(position, response.headers_mut());
    response
}

/// 404 `order_not_found`.
pub(super) fn order_not_found(id: OrderId) -> ApiError {
    ApiError::new(Code::OrderNotFound, format!("There is no order {id}."))
}
