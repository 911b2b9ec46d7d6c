//! The whole service in a test, on its own database and its own stream, asked over real HTTP.

use std::time::Duration;

use orders::{
    app::{
        App,
        config::{Config, Servers as ServerConfig},
    },
    http::HttpOptions,
    postgres::writer::WriterOptions,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{sync::oneshot, task::JoinHandle};
use uuid::Uuid;

use super::{
    eventually,
    servers::{fresh_database, servers, url_of_database},
};

/// The service of one test.
pub struct TestApp {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    /// A client without any special settings.
    pub client: Client,
    /// The service's database, for looking and for planting.
    pub database: PgPool,
    /// URL of that database.
    pub database_url: String,
    /// The service's configuration, for starting another one beside it.
    pub config: Config,
    may_park: bool,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
}

/// An answer, read to its end.
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
    /// Reads a response to its end.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header's text; empty where there is none.
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
            },
            nats_stream: name.clone(),
            nats_prefix: name,
            nats_replicas: 1,
            default_currency: "EUR".parse().expect("a currency"),
            writer: WriterOptions::default(),
            snapshot_every: 100,
            cached_orders: 10_000,
            // A service that heals itself would hide what a test is to find.
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
        let running = tokio::spawn(app.run_until(async {
            // A dropped sender stops the service, too.
            let _ = stopped.await;
        }));
        let (client, stop) = (Client::new(), Some(stop));
        Self {
            url,
            client,
            database,
            database_url,
            config,
            may_park: false,
            stop,
            running,
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

    /// Says that this test parks orders.
    pub fn may_park(&mut self) {
        self.may_park = true;
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

    /// Any request with a body as it is.
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
        eventually("the read model catches up", || async {
            let behind: bool = sqlx::query_scalar(
                "select coalesce((select max(position) from events), 0)
                        > (select position from projection_checkpoint where name = 'orders')",
            )
            .fetch_one(&self.database)
            .await
            .expect("PostgreSQL answers");
            (!behind).then_some(())
        })
        .await;
    }

    /// Stops the service and checks what it leaves: everything projected, nothing parked.
    pub async fn stop(mut self) {
        self.wait_until_caught_up().await;
        if !self.may_park {
            let parked: i64 = sqlx::query_scalar("select count(*) from projection_parked")
                .fetch_one(&self.database)
                .await
                .expect("PostgreSQL answers");
            assert_eq!(parked, 0, "orders are parked");
        }
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.running.await.expect("no panic").expect("a clean stop");
    }
}
