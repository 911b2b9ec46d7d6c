//! A request's body, which outlives its handler: what a handler has not read is read to its end before
//! the answer goes out, so that the connection stays usable for the next request.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout};

use super::client_stream::Timer;
use crate::http::request::body::MAX_BODY;

/// How long an answer waits for the rest of a body.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// A body that its handler and the connection share.
#[derive(Debug, Clone)]
pub struct RequestBody(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    incoming: Incoming,
    limit: Duration,
    last: Option<Instant>,
    timer: Timer,
    /// Whether anything was asked for: a client that waits for `100 Continue` sends nothing before.
    is_asked: bool,
    /// Whether it broke off.
    has_failed: bool,
    size: usize,
}

impl RequestBody {
    /// Shares `incoming`, which may send nothing for `limit` at most.
    #[must_use]
    pub fn new(incoming: Incoming, limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            incoming,
            limit,
            last: None,
            timer: Timer::default(),
            is_asked: false,
            has_failed: false,
            size: 0,
        })))
    }

    /// Reads what is left of the body, up to the largest body that the service takes. Where it is
    /// larger, slower, or waits to be asked for, it is left: hyper then closes the connection.
    pub async fn drain(&self, awaits_continue: bool) {
        if awaits_continue && !self.lock().is_asked {
            return;
        }
        let mut rest = self.clone();
        let reading = async {
            while !rest.is_over() {
                if !matches!(rest.frame().await, Some(Ok(_))) {
                    return;
                }
            }
        };
        // Too slow or too large: the connection ends with this answer.
        drop(timeout(DRAIN_LIMIT, reading).await);
    }

    fn is_over(&self) -> bool {
        let shared = self.lock();
        shared.has_failed || shared.size > MAX_BODY || shared.incoming.is_end_stream()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut shared = self.lock();
        let shared = &mut *shared;
        shared.is_asked = true;
        match Pin::new(&mut shared.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                shared.last = Some(Instant::now());
                if let Some(Ok(frame)) = &frame {
                    shared.size += frame.data_ref().map_or(0, Bytes::len);
                }
                shared.has_failed |= matches!(frame, Some(Err(_)));
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Poll::Pending => {
                let since = *shared.last.get_or_insert_with(Instant::now);
                match shared.timer.poll(since + shared.limit, context) {
                    Poll::Ready(()) => {
                        shared.has_failed = true;
                        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lock().incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().incoming.size_hint()
    }
}
