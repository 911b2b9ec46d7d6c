//! Accepts connections and serves them until the service stops.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response, serve::Listener};
use hyper::{Request, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::rate_limit::ClientAddress;
use crate::http::orders::sse::EndlessBody;

/// How long the rest of an ended stream may take to reach its client when the service stops.
const STREAM_GRACE: Duration = Duration::from_secs(1);

/// Serves `router` until `stopping`. Then it accepts no more connections, closes the idle ones, and
/// returns when the requests on the others are answered.
///
/// It replaces `axum::serve`, which cannot limit how long a stream delays the shutdown.
pub async fn serve(mut listener: TcpListener, router: Router, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        // Retries after errors, and pauses while the process has too many open files.
        let (stream, address) = select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = stopping.cancelled() => break,
        };
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "TCP_NODELAY could not be set");
        }
        let client = ClientAddress(address.ip());
        let connection = serve_connection(stream, client, router.clone(), stopping.clone());
        connections.spawn(connection);
    }
    drop((listener, router));
    connections.close();
    connections.wait().await;
}

async fn serve_connection(
    stream: TcpStream,
    client: ClientAddress,
    router: Router,
    stopping: CancellationToken,
) {
    let with_client = move |mut request: Request<_>| {
        request.extensions_mut().insert(client);
        request.map(Body::new)
    };
    let has_stream = Arc::new(AtomicBool::new(false));
    let streams = Arc::clone(&has_stream);
    let note_stream = move |response: Response| {
        if response.extensions().get::<EndlessBody>().is_some() {
            streams.store(true, Ordering::Relaxed);
        }
        response
    };
    let service = router.map_request(with_client).map_response(note_stream);
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            if has_stream.load(Ordering::Relaxed) {
                // The stream has ended. A client that does not read it must not delay the stop.
                timeout(STREAM_GRACE, connection).await.unwrap_or(Ok(()))
            } else {
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended with an error");
    }
}
