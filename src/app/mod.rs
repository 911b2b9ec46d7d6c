//! The composition root: the only place that sees all parts. It starts them in order and stops them
//! in reverse order. What a part does belongs to the part's own module.

mod background;
mod components;
pub mod config;
mod database;
mod key_expiry;
mod open_files;
mod readiness;
pub mod signals;
mod tasks;
pub mod telemetry;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{
    background::BackgroundTasks,
    components::Components,
    config::{Config, Servers},
    readiness::Observer,
};
use crate::{
    embedded::{Embedded, EmbeddedOptions},
    http::{
        self, Api,
        operations::checks::Health,
        orders::{reads::Reads, sse::Live},
        server::serve::ServerLimits,
    },
    nats::{self, Alarm, EventStream, NatsOptions},
    postgres,
};

pub use database::wait_for_database;

/// How long open requests may take when the service stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(7);
/// How long background tasks may take to end after that.
const TASKS_DEADLINE: Duration = Duration::from_secs(2);
/// How long the embedded servers may take to end after that.
const SERVERS_DEADLINE: Duration = Duration::from_secs(5);

/// The running service.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    router: axum::Router,
    limits: ServerLimits,
    tasks: BackgroundTasks,
    /// The commands that are being executed.
    commands: TaskTracker,
    /// Cancelled when the service begins to stop.
    stopping: CancellationToken,
    nats: async_nats::Client,
    embedded: Option<Embedded>,
}

impl App {
    /// Starts all parts: embedded servers if any, database schema, writer, background tasks, HTTP.
    ///
    /// # Errors
    /// PostgreSQL does not answer within 30 seconds or cannot be used, the address is in use, or an
    /// embedded server does not start. NATS need not answer.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let data_dir = match &config.servers {
            Servers::Embedded(data_dir) => data_dir,
            Servers::Given {
                database_url,
                nats_url,
            } => return Self::start_on(&config, database_url, nats_url).await,
        };
        info!(data_dir = %data_dir.display(), "starting the embedded servers");
        let embedded = Embedded::start(&EmbeddedOptions::new(data_dir)).await?;
        match Self::start_on(&config, embedded.database_url(), embedded.nats_url()).await {
            Ok(app) => Ok(Self {
                embedded: Some(embedded),
                ..app
            }),
            Err(error) => {
                embedded.stop().await;
                Err(error)
            }
        }
    }

    /// Starts all parts but the servers.
    async fn start_on(config: &Config, database_url: &str, nats_url: &str) -> anyhow::Result<Self> {
        // First, because metrics without a recorder are lost.
        let metrics = telemetry::metrics()?;
        let connect = postgres::connect_options(database_url)?;
        wait_for_database(&connect, config.allow_unsafe_database).await?;
        let options = NatsOptions {
            stream: config.nats_stream.clone(),
            subject_prefix: config.nats_prefix.clone(),
            replicas: config.nats_replicas,
            ..NatsOptions::new(nats_url)
        };
        let client = nats::connect(&options).await?;
        let stream = EventStream::new(client.clone(), options);

        let mut tasks = BackgroundTasks::default();
        let components = Components::start(&mut tasks, config, connect.clone())?;
        let alarm = Alarm::default();
        tasks::start(&mut tasks, config, &components, stream, alarm.clone());

        let (commands, stopping) = (TaskTracker::new(), CancellationToken::new());
        let replica = config.database_read_url.as_deref();
        let observer = Observer::new(
            connect,
            replica.map(postgres::connect_options).transpose()?,
            components.appends.clone(),
            client.clone(),
            alarm,
        );
        let readiness = observer.start(&mut tasks).await;
        let health = Health { readiness, metrics };
        let api = http_api(
            &mut tasks,
            config,
            &components,
            health,
            commands.clone(),
            &stopping,
        );
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let limits = open_files::within_limit(config.http.limits);
        let mut http_options = config.http.clone();
        let streams = &mut http_options.work.streams;
        // The other half of the connections is for requests.
        *streams = streams.at_most(limits.connections.total / 2);
        let router = http::router(api, &http_options);
        Ok(Self {
            listener,
            address,
            router,
            limits,
            tasks,
            commands,
            stopping,
            nats: client,
            embedded: None,
        })
    }

    /// The address that the service listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes, then stops: accepted requests are answered, idle connections
    /// are closed, leases are given back.
    ///
    /// # Errors
    /// A background task or the HTTP server ended unexpectedly.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            listener,
            router,
            limits,
            mut tasks,
            commands,
            stopping,
            nats,
            embedded,
            ..
        } = self;
        let server = http::serve(listener, router, limits, stopping.clone());
        tokio::pin!(server);

        let result = tokio::select! {
            () = stop => Ok(()),
            error = tasks.first_end() => Err(error),
            () = &mut server => Err(anyhow!("the HTTP server ended unexpectedly")),
        };
        stopping.cancel();
        let drained = timeout(DRAIN_DEADLINE, async {
            // The server drops the router when it ends. The writer ends once no handler is left.
            server.await;
            commands.close();
            commands.wait().await;
        });
        if drained.await.is_err() {
            warn!("requests did not end within {DRAIN_DEADLINE:?}; their connections are closed");
        }
        if timeout(TASKS_DEADLINE, tasks.stop()).await.is_err() {
            warn!("background tasks did not end within {TASKS_DEADLINE:?}");
        }
        nats::close(&nats).await;
        if let Some(embedded) = embedded
            && timeout(SERVERS_DEADLINE, embedded.stop()).await.is_err()
        {
            warn!("the embedded servers did not end within {SERVERS_DEADLINE:?}");
        }
        info!("stopped");
        result
    }
}

/// What the HTTP handlers work with. Starts the tasks that only they need.
fn http_api(
    tasks: &mut BackgroundTasks,
    config: &Config,
    components: &Components,
    health: Health,
    commands: TaskTracker,
    stopping: &CancellationToken,
) -> Api {
    let repository = Arc::new(components.repository(tasks, config));
    let live = Live::new(Arc::new(components.streamed()), stopping.clone());
    let (feed, fresh) = (live.feed.clone(), components.fresh.clone());
    tasks.spawn_until_cancelled("feed", |cancel| feed.run(fresh, cancel));
    Api {
        orders: repository.clone(),
        history: repository.clone(),
        reads: Reads::new(
            components.views.clone(),
            components.hot_views.clone(),
            components.watch.clone(),
            Arc::clone(&components.awaited),
            repository.clone(),
        ),
        live,
        health,
        // The rest of a request's time is for the command itself.
        claim_limit: config.http.request_timeout / 2,
        tasks: commands,
        default_currency: config.default_currency,
    }
}
