//! The whole service in a test: on a database and a stream of its own, called over real HTTP.
//!
//! Each test ends with [`TestApp::stop`], which checks what the test leaves behind. A test that
//! forgets it fails.

use std::time::{Duration, Instant};

use orders::{
    app::{
        App,
        config::{Config, Servers as ServerConfig},
    },
    http::{HttpOptions, request::caller::WorkLimits, server::serve::ServerLimits},
    postgres::writer::WriterOptions,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use sqlx::{PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use tokio::{sync::oneshot, task::JoinHandle};
use uuid::Uuid;

use super::{
    eventually,
    servers::{fresh_database, servers, url_of_database},
    truth,
};

/// The service of one test.
pub struct TestApp {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    /// A client with default settings.
    pub client: Client,
    /// The service's database, for checks and for prepared rows.
    pub database: PgPool,
    /// URL of that database.
    pub database_url: String,
    /// The service's configuration, for starting a second service.
    pub config: Config,
    may_park: bool,
    may_differ: bool,
    running: Option<Running>,
}

/// The service's task.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Reads a whole response.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header's text; empty if the header is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The `code` of a problem document.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body's `id`.
    pub fn id(&self) -> Uuid {
        self.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a UUID")
    }
}

impl TestApp {
    /// Starts the service with default settings.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts the service with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let (options, name) = fresh_database().await;
        let database_url = url_of_database(&name);
        let mut config = Config {
            servers: ServerConfig::Given {
                database_url: database_url.clone(),
                nats_url: servers().nats_url.clone(),
            },
            database_read_url: None,
            allow_unsafe_database: false,
            listen: ([127, 0, 0, 1], 0).into(),
            http: HttpOptions {
                request_timeout: Duration::from_secs(15),
                cors_origins: vec!["https://shop.example".to_owned()],
                rate_limit: None,
                allowed_hosts: vec!["shop.example".to_owned()],
                trusted_proxy_hops: 0,
                limits: ServerLimits::default(),
                work: WorkLimits::default(),
            },
            nats_stream: name.clone(),
            nats_prefix: name,
            nats_replicas: 1,
            default_currency: "EUR".parse().expect("a currency"),
            writer: WriterOptions::default(),
            snapshot_every: 100,
            cached_orders: 10_000,
            // The self-check would repair differences that a test should find.
            verify_per_second: 0,
            database_connections: 8,
        };
        change(&mut config);
        let database = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(options);
        Self::run(config, database, database_url).await
    }

    async fn run(config: Config, database: PgPool, database_url: String) -> Self {
        let app = App::start(config.clone())
            .await
            .expect("the service starts");
        let url = format!("http://{}", app.address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(app.run_until(async {
            // A dropped sender stops the service, too.
            let _ = stopped.await;
        }));
        Self {
            url,
            client: Client::new(),
            database,
            database_url,
            config,
            may_park: false,
            may_differ: false,
            running: Some(Running { stop, task }),
        }
    }

    /// Starts a second service on the same database and stream.
    pub async fn second(&self) -> Self {
        Self::run(
            self.config.clone(),
            self.database.clone(),
            self.database_url.clone(),
        )
        .await
    }

    /// Lets this test leave parked orders behind, and events that cannot be read.
    pub fn may_park(&mut self) {
        self.may_park = true;
    }

    /// Lets this test leave a read model that differs from the store: it changes rows by hand.
    pub fn may_differ(&mut self) {
        self.may_differ = true;
    }

    /// A request to a path of the service.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// GET
    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    /// GET with headers
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, None).await
    }

    /// POST of JSON
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    /// POST of JSON with headers
    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, headers, Some(body)).await
    }

    /// Any request with a JSON body or none.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.expect("the service answers")).await
    }

    /// Any request with these bytes as its body.
    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.request(method, path).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.expect("the service answers")).await
    }

    /// Holds back every append until the transaction ends.
    pub async fn block_appends(&self) -> Transaction<'static, Postgres> {
        let mut blocker = self.database.begin().await.expect("PostgreSQL answers");
        sqlx::query("select pg_advisory_xact_lock(7021839001)")
            .execute(&mut *blocker)
            .await
            .expect("appends are blocked");
        blocker
    }

    /// Waits until an append is held back.
    pub async fn wait_for_a_blocked_append(&self) {
        eventually("an append is held back", || async {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                 where d.datname = current_database() and l.locktype = 'advisory' and not granted)",
            )
            .fetch_one(&self.database)
            .await
            .expect("PostgreSQL answers");
            waits.then_some(())
        })
        .await;
    }

    /// Waits until the read model shows this version of an order, or a newer one.
    pub async fn wait_until_projected(&self, order: Uuid, version: i32) -> Value {
        eventually(&format!("order {order} at version {version}"), || async {
            let shown = self.get(&format!("/v1/orders/{order}")).await.json();
            (shown["version"].as_i64() >= Some(version.into())).then_some(shown)
        })
        .await
    }

    /// Waits until the read model holds everything that is in the store.
    pub async fn wait_until_caught_up(&self) {
        truth::caught_up(&self.database).await;
    }

    /// Checks what the test leaves behind and stops the service: the read model equals the fold of
    /// the store, no order is parked, and the service stops without an error. Returns how long the
    /// service took to stop.
    pub async fn stop(self) -> Duration {
        self.wait_until_caught_up().await;
        if !self.may_differ {
            let currency = self.config.default_currency;
            truth::assert_views_are_the_fold(&self.database, currency, self.may_park).await;
        }
        self.stop_unchecked().await
    }

    /// Stops the service without a check of its read model, for a test whose read model cannot catch
    /// up. Returns how long the service took to stop.
    pub async fn stop_unchecked(mut self) -> Duration {
        let Running { stop, task } = self.running.take().expect("the service runs");
        let began = Instant::now();
        // The receiver is gone only if the service has ended by itself: then its error is shown.
        let _ = stop.send(());
        task.await.expect("no panic").expect("a clean stop");
        began.elapsed()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        assert!(
            self.running.is_none() || std::thread::panicking(),
            "a test must end with TestApp::stop"
        );
    }
}

#[tokio::test]
#[should_panic(expected = "total_minor: expected 100, found 101")]
async fn a_row_that_is_changed_by_hand_fails_the_test() {
    let app = TestApp::start().await;
    let item = serde_json::json!({"productId": "p", "quantity": 1, "price": "1.00"});
    let order = serde_json::json!({"customerId": "c", "items": [item]});
    let placed = app.post("/v1/orders", &order).await;
    app.wait_until_projected(placed.id(), 1).await;
    sqlx::query("update order_views set total_minor = 101")
        .execute(&app.database)
        .await
        .expect("PostgreSQL answers");

    app.stop().await;
}

#[tokio::test]
#[should_panic(expected = "a test must end with TestApp::stop")]
async fn a_test_that_does_not_stop_the_service_fails() {
    drop(TestApp::start().await);
}
