//! Reads from the read model, and what all of them keep to:
//! - A read that brings a token waits until the read model holds that write.
//! - No read shows an older position than an earlier read of this process has shown.
//! - A token that names a position beyond the end of the store is refused.

mod shared_answer;
mod shown;
mod watch;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

pub use self::watch::PositionWatch;
use self::{shared_answer::SharedAnswer, shown::ShownPosition, watch::LOOK_AGAIN};
use crate::http::{
    problem::{ApiError, Code},
    request::consistency::Consistency,
};
use crate::{
    event_sourcing::{Position, StoreError},
    order::{OrderHistory, OrderId},
    read_model::{FoundOrder, HotView, HotViews, ListPage, OrderViews},
};

const BEHIND: &str = "The read model does not hold yet what this read must show: the write of its \
    Consistency-Token, or what an earlier read has shown.";

/// The read model, and what its reads share.
pub struct Reads {
    views: OrderViews,
    hot_views: HotViews,
    watch: PositionWatch,
    /// Notified by a read that starts to wait.
    awaited: Arc<Notify>,
    history: Arc<dyn OrderHistory>,
    shown: ShownPosition,
    store_end: SharedAnswer<Position>,
    read_model_end: SharedAnswer<Position>,
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
    /// Makes the reads of a process. `hot_views` and `watch` are what its projector reports to,
    /// `awaited` is notified by a read that waits for the projector, and `history` is the store behind
    /// the read model.
    #[must_use]
    pub fn new(
        views: OrderViews,
        hot_views: HotViews,
        watch: PositionWatch,
        awaited: Arc<Notify>,
        history: Arc<dyn OrderHistory>,
    ) -> Self {
        Self {
            views,
            hot_views,
            watch,
            awaited,
            history,
            shown: ShownPosition::default(),
            store_end: SharedAnswer::default(),
            read_model_end: SharedAnswer::default(),
        }
    }

    /// The order's view in memory, with the position that it shows; `None` if the database must be
    /// asked.
    pub fn hot(&self, id: Uuid, consistency: &Consistency) -> Option<(HotView, Position)> {
        let (view, positions) = self.hot_views.get(id)?;
        let required = consistency.required.max(self.shown.get());
        let (first, last) = positions.into_inner();
        // The lowest position that is allowed: later reads may ask a replica, which is behind.
        let position = required.max(first).max(self.watch.reported()).min(last);
        (position >= required).then(|| {
            self.shown.raise(position);
            (view, position)
        })
    }

    /// Keeps a view that was read at `position` in memory.
    pub fn keep(&self, id: Uuid, position: Position, view: HotView) {
        self.hot_views.keep(id, position, view);
    }

    /// Runs a query, and waits with it until its result has the position that the client requires and
    /// no lower one than this process has shown. Position and rows come from one statement, so this
    /// holds for every replica.
    ///
    /// # Errors
    /// 503 `read_model_behind` if the wait of the client is over, 400 `invalid_header` if the store has
    /// not reached the position, and the errors of the query.
    pub async fn until<T: AsOf, F: Future<Output = Result<T, StoreError>> + Send>(
        &self,
        consistency: &Consistency,
        read: impl Fn(OrderViews) -> F + Send,
    ) -> Result<T, ApiError> {
        let deadline = Instant::now() + consistency.wait;
        let mut required = consistency.required.max(self.shown.get());
        let mut is_in_store = false;
        loop {
            let mut reports = self.watch.reports();
            if !self.is_known_behind(required) {
                let found = read(self.views.clone()).await?;
                if found.position() >= required {
                    self.shown.raise(found.position());
                    return Ok(found);
                }
                reports.add(found.position());
            }
            let is_over = Instant::now() >= deadline;
            if is_over && is_in_store {
                return Err(ApiError::new(Code::ReadModelBehind, BEHIND));
            }
            self.awaited.notify_one();
            // Mostly the projector is faster than the first look, and the store need not be asked.
            let patience = if is_in_store {
                deadline
            } else {
                deadline.min(Instant::now() + LOOK_AGAIN)
            };
            let look = || self.views.position();
            let is_reached = reports.wait_for(required, patience, look).await?;
            if !is_in_store && (is_over || !is_reached) {
                required = self.check_store(consistency.required, required).await?;
                is_in_store = true;
            }
        }
    }

    /// Waits for the required position and returns the position of the read model. Any number of callers
    /// take one connection.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn position(&self, consistency: &Consistency) -> Result<Position, ApiError> {
        let read = |views: OrderViews| async move {
            let ask = || views.position();
            self.read_model_end.get(ask).await
        };
        self.until(consistency, read).await
    }

    /// Whether a query would be in vain. What was shown may be newer than the last look.
    fn is_known_behind(&self, required: Position) -> bool {
        required > self.shown.get() && self.watch.is_known_behind(required)
    }

    /// Asks the store for its end: refuses a token beyond it, and forgets what was shown beyond it.
    /// Returns the position that is still required.
    async fn check_store(&self, token: Position, required: Position) -> Result<Position, ApiError> {
        let newest = self.store_end.get(|| self.history.newest()).await?;
        if token > newest {
            let detail = "names a position that the store has not reached";
            return Err(ApiError::header("Consistency-Token", detail));
        }
        self.shown.forget_beyond(newest);
        Ok(token.max(required.min(self.shown.get())))
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
