//! The accept loop: takes connections, up to their limits, and serves each until it is told to stop.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router, body::Body, http::HeaderMap, http::header, response::Response, serve::Listener,
};
use bytes::Bytes;
use hyper::{
    Request,
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{
    MAX_HEAD, MAX_HEADERS,
    client_stream::{ClientStream, Exchanges, TimeLimits},
    connections::{Access, Admitted, Connections, HealthOnly},
    request_body::RequestBody,
};
use crate::http::{
    orders::sse::EndlessBody,
    request::{client::ClientAddress, shares::Limits},
};

/// How long a stream that has ended may take to reach its client when the service stops.
const STREAM_GRACE: Duration = Duration::from_secs(1);

/// How long a connection that may only ask for health has for its one request.
const HEALTH_ONLY_HEAD: Duration = Duration::from_secs(2);

/// Limits on clients' connections.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// On their number.
    pub connections: Limits,
    /// On their time.
    pub time: TimeLimits,
}

impl Default for ServerLimits {
    fn default() -> Self {
        let connections = Limits {
            total: 10_000,
            per_address: 2000,
        };
        Self {
            connections,
            time: TimeLimits::default(),
        }
    }
}

/// Serves `router` until `stopping`. Then it takes no more connections, closes the idle ones, and
/// returns once every request is answered.
pub async fn serve(
    mut listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    stopping: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let connections = Connections::new(limits.connections);
    loop {
        // Skips errors of single connections, and waits where the process has no descriptor left.
        let (stream, address) = select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = stopping.cancelled() => break,
        };
        let client = ClientAddress(address.ip());
        let Some(admitted) = connections.admit(client) else {
            metrics::counter!("orders_connections_refused_total").increment(1);
            debug!(client = %client.0, "a connection too many was closed");
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "TCP_NODELAY not set");
        }
        let connection = Connection {
            stream,
            client,
            admitted,
            router: router.clone(),
            limits: limits.time,
        };
        tasks.spawn(connection.run(stopping.clone()));
    }
    drop((listener, router));
    tasks.close();
    tasks.wait().await;
}

/// A client's connection with what it is served from.
struct Connection {
    stream: TcpStream,
    client: ClientAddress,
    admitted: Admitted,
    router: Router,
    limits: TimeLimits,
}

impl Connection {
    async fn run(self, stopping: CancellationToken) {
        let Self {
            stream,
            client,
            admitted,
            router,
            mut limits,
        } = self;
        let is_health_only = admitted.access == Access::HealthOnly;
        if is_health_only {
            limits.head = HEALTH_ONLY_HEAD;
        }
        let exchanges = Arc::new(Exchanges::default());
        let is_stream = Arc::new(AtomicBool::new(false));
        let (counted, streams) = (Arc::clone(&exchanges), Arc::clone(&is_stream));
        let service = service_fn(move |mut request: Request<Incoming>| {
            counted.begin();
            request.extensions_mut().insert(client);
            if is_health_only {
                request.extensions_mut().insert(HealthOnly);
            }
            let (router, exchanges) = (router.clone(), Arc::clone(&counted));
            let streams = Arc::clone(&streams);
            async move {
                let response = answer(router, request, limits.body).await;
                if response.extensions().get::<EndlessBody>().is_some() {
                    streams.store(true, Ordering::Relaxed);
                }
                Ok::<_, Infallible>(response.map(|body| AnswerBody { body, exchanges }))
            }
        });
        let stream = TokioIo::new(ClientStream::new(stream, limits, exchanges));
        let connection = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .keep_alive(!is_health_only)
            .serve_connection(stream, service);
        let serving = async move {
            let mut connection = pin!(connection);
            let ended = select! {
                ended = connection.as_mut() => ended,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    if is_stream.load(Ordering::Relaxed) {
                        // The stream has ended. A client that does not read it has no answer to wait for.
                        timeout(STREAM_GRACE, connection).await.unwrap_or(Ok(()))
                    } else {
                        connection.await
                    }
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection ended with an error");
            }
        };
        serving.await;
        drop(admitted);
    }
}

/// Answers a request, and reads what its handler has left of its body.
async fn answer(router: Router, request: Request<Incoming>, body_limit: Duration) -> Response {
    if request.body().is_end_stream() {
        return respond(router, request.map(Body::new)).await;
    }
    let awaits_continue = awaits_continue(request.headers());
    let (parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, body_limit);
    let request = Request::from_parts(parts, Body::new(body.clone()));
    let response = respond(router, request).await;
    body.drain(awaits_continue).await;
    response
}

async fn respond(router: Router, request: Request<Body>) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(impossible) => match impossible {},
    }
}

fn awaits_continue(headers: &HeaderMap) -> bool {
    let expect = headers.get(header::EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The body of an answer; the exchange ends when hyper has taken all of it.
struct AnswerBody {
    body: Body,
    exchanges: Arc<Exchanges>,
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.exchanges.end();
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
