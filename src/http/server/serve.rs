//! Takes connections and serves them until it is told to stop.

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
use tokio::{net::TcpListener, select, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{rate_limit::ClientAddress, repoll::RepollOnSelfWake};

/// How long a stream that has ended may take to reach its client when the service stops.
const STREAM_GRACE: Duration = Duration::from_secs(1);

/// Says of a response that its body goes on until the service stops.
#[derive(Debug, Clone, Copy)]
pub struct EndlessBody;

/// Serves `router` until `stopping`; then takes no more connections, closes those that are idle, and
/// returns once what was asked on the others is answered.
///
/// What `axum::serve` does, with each connection [`RepollOnSelfWake`].
pub async fn serve(mut listener: TcpListener, router: Router, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        // Passes over errors of a connection, and waits where the machine has no place for one more.
        let (stream, address) = select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = stopping.cancelled() => break,
        };
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "TCP_NODELAY not set");
        }
        let client = ClientAddress(address.ip());
        let with_body = move |mut request: Request<_>| {
            request.extensions_mut().insert(client);
            request.map(Body::new)
        };
        let is_stream = Arc::new(AtomicBool::new(false));
        let streams = Arc::clone(&is_stream);
        let note_stream = move |response: Response| {
            if response.extensions().get::<EndlessBody>().is_some() {
                streams.store(true, Ordering::Relaxed);
            }
            response
        };
        let service = router
            .clone()
            .map_request(with_body)
            .map_response(note_stream);
        let service = TowerToHyperService::new(service);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let stopping = stopping.clone();
        connections.spawn(RepollOnSelfWake::new(async move {
            let mut connection = pin!(connection);
            let ended = select! {
                ended = connection.as_mut() => ended,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    if is_stream.load(Ordering::Relaxed) {
                        // It has been ended; who does not read has no answer to wait for.
                        match timeout(STREAM_GRACE, connection).await {
                            Ok(ended) => ended,
                            Err(_) => Ok(()),
                        }
                    } else {
                        connection.await
                    }
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection ended badly");
            }
        }));
    }
    drop((listener, router));
    connections.close();
    connections.wait().await;
}
