//! A client's TCP connection with limits on time: how long a request's head may take, how long a
//! connection may be idle, and how long a client may refuse to read its answer.
//!
//! hyper has one timer for head and idle time together and none for writing, so the limits are kept
//! here, below hyper. The few answers that hyper writes by itself (400, 414 and 431 for a head that it
//! cannot read) are replaced by problem documents on their way out.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::unreadable_head;

/// Limits on the time that a client may take.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// From the first byte of a request to the end of its head; from the start of the connection to its
    /// first request, too.
    pub head: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// Without a byte of a body that the service waits for.
    pub body: Duration,
    /// Without the client taking a byte of an answer.
    pub write: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(10),
            write: Duration::from_secs(30),
        }
    }
}

/// Which requests of one connection have begun and ended.
#[derive(Debug)]
pub struct Exchanges {
    opened: Instant,
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last one ended, in milliseconds after `opened`.
    last_end: AtomicU64,
}

impl Default for Exchanges {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            last_end: AtomicU64::new(0),
        }
    }
}

impl Exchanges {
    /// A request's head has been read.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Its answer has been handed to the connection, to the last byte.
    pub fn end(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_end.store(elapsed, Ordering::Release);
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// When the last answer ended, or the connection was opened.
    fn last_end(&self) -> Instant {
        self.opened + Duration::from_millis(self.last_end.load(Ordering::Acquire))
    }

    /// How many requests have begun, and whether one of them is not answered yet.
    fn look(&self) -> (u64, bool) {
        let ended = self.ended.load(Ordering::Acquire);
        let begun = self.begun.load(Ordering::Acquire);
        (begun, begun > ended)
    }
}

/// What the service waits for on a connection without a request in work.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// How many requests had begun before.
    begun: u64,
    /// Whether bytes of the next head have come.
    has_begun: bool,
    since: Instant,
}

/// The connection that hyper reads and writes.
#[derive(Debug)]
pub struct ClientStream {
    stream: TcpStream,
    limits: TimeLimits,
    exchanges: Arc<Exchanges>,
    waiting: Option<Waiting>,
    read_timer: Timer,
    blocked_since: Option<Instant>,
    write_timer: Timer,
    /// What is left to write of an answer that replaces one of hyper's.
    replacement: Option<Bytes>,
}

impl ClientStream {
    /// Limits the time of `stream`, whose requests and answers are counted in `exchanges`.
    #[must_use]
    pub fn new(stream: TcpStream, limits: TimeLimits, exchanges: Arc<Exchanges>) -> Self {
        Self {
            stream,
            limits,
            exchanges,
            waiting: None,
            read_timer: Timer::default(),
            blocked_since: None,
            write_timer: Timer::default(),
            replacement: None,
        }
    }

    /// Whether the client has taken too long to send its next request.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (begun, is_in_work) = self.exchanges.look();
        if is_in_work {
            // hyper need not read again when the answer has ended: this timer makes it look.
            self.waiting = None;
            let look = Instant::now() + self.limits.idle;
            let _is_never_over = self.read_timer.poll(look, context);
            return Poll::Pending;
        }
        let waiting = self.waiting.filter(|waiting| waiting.begun == begun);
        let waiting = waiting.unwrap_or_else(|| Waiting {
            begun,
            // Before its first request a connection has no more time than a head has.
            has_begun: begun == 0,
            since: self.exchanges.last_end(),
        });
        self.waiting = Some(waiting);
        let limit = if waiting.has_begun {
            self.limits.head
        } else {
            self.limits.idle
        };
        self.read_timer.poll(waiting.since + limit, context)
    }

    /// Notes the first bytes of a request's head.
    fn note_read(&mut self) {
        let (begun, is_in_work) = self.exchanges.look();
        let is_noted = self
            .waiting
            .is_some_and(|waiting| waiting.begun == begun && waiting.has_begun);
        if !is_in_work && !is_noted {
            self.waiting = Some(Waiting {
                begun,
                has_begun: true,
                since: Instant::now(),
            });
        }
    }

    /// Ends the connection where a client has not taken a byte for too long.
    fn limit_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked_since = None;
            return written;
        }
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        let deadline = since + self.limits.write;
        ready!(self.write_timer.poll(deadline, context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The document that replaces an answer of hyper's own; `None` for any other bytes.
    fn replacement_of(&self, bytes: &[u8]) -> Option<Bytes> {
        let (_, is_in_work) = self.exchanges.look();
        if is_in_work {
            return None;
        }
        unreadable_head::replacement(bytes)
    }

    fn poll_replacement(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = &mut self.replacement
            && left.has_remaining()
        {
            let written = Pin::new(&mut self.stream).poll_write(context, left);
            let written = ready!(self.limit_write(written, context))?;
            if let Some(left) = &mut self.replacement {
                left.advance(written);
            }
        }
        self.replacement = None;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                if buffer.filled().len() > before {
                    self.note_read();
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                ready!(self.poll_overdue(context));
                // Nothing read is the end of the connection.
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() {
            self.replacement = self.replacement_of(bytes);
        }
        if self.replacement.is_some() {
            ready!(self.poll_replacement(context))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = parts {
            return self.poll_write(context, only);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.limit_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Wakes its task at a deadline. A deadline that moves on costs nothing: the timer is set anew only
/// once it fires.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    pub(super) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
