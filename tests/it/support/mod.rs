//! What several tests use: servers shared by all tests of the process, a service for each test,
//! clients and checks. Code that only one group of tests needs does not belong here.

pub mod app;
pub mod event_source;
pub mod proxy;
pub mod retail;
pub mod servers;
pub mod service;
pub mod shop;
pub mod small_disk;
pub mod truth;

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

pub use app::TestApp;
pub use event_source::EventSource;

/// Connects to NATS with the user and the password of the URL, which the client library ignores.
pub async fn connect_to_nats(url: &str) -> Result<async_nats::Client, async_nats::ConnectError> {
    let (options, servers) = orders::nats::connect_options(url).expect("a URL");
    options.connect(servers).await
}

/// How long a test waits for an expected state.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `ask` returns a value. Fails the test after [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "did not happen in {PATIENCE:?}: {what}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}
