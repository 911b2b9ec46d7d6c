//! Takes connections and serves them until it is told to stop.

use std::pin::pin;

use axum::{Router, body::Body, serve::Listener};
use hyper::{Request, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{net::TcpListener, select};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{at_once::AtOnce, rate_limit::ClientAddress};

/// Serves `router` until `stopping`; then takes no more connections, closes those that are idle, and
/// returns once what was asked on the others is answered.
///
/// What `axum::serve` does, with each connection [`AtOnce`].
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
        let service = TowerToHyperService::new(router.clone().map_request(with_body));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let stopping = stopping.clone();
        connections.spawn(AtOnce::new(async move {
            let mut connection = pin!(connection);
            let ended = select! {
                ended = connection.as_mut() => ended,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
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
