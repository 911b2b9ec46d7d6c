//! The composition root: the only place that sees all parts, starts them in order and stops them in
//! the reverse one.

pub mod config;
mod parts;
pub mod readiness;
pub mod signals;
mod tasks;
pub mod telemetry;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use uuid::Uuid;

use self::{
    config::{Config, Servers},
    parts::{Parts, repository},
    readiness::ReadinessChecks,
    tasks::{spawn_expiry, spawn_relay_and_projector, spawn_until},
};
use crate::{
    embedded::{Embedded, EmbeddedOptions},
    http::{
        self, Api,
        orders::{reads::Reads, sse::Live},
        server::context::new_id,
    },
    nats::{self, Alarm, EventStream, NatsOptions},
    postgres::{self, PgLease, PrepareError},
    read_model::self_check::{self, SelfCheck},
};

/// How long the start waits for PostgreSQL.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// How long requests may take to end when the service stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(7);
/// How long background tasks may take to end after that.
const TASKS_DEADLINE: Duration = Duration::from_secs(2);
/// How long the embedded servers may take to end after that.
const SERVERS_DEADLINE: Duration = Duration::from_secs(5);
/// How long a process may be silent before another one relays and projects in its place.
const LEASE_TTL: Duration = Duration::from_secs(5);

/// The running service.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    router: axum::Router,
    tasks: JoinSet<&'static str>,
    commands: TaskTracker,
    cancel: CancellationToken,
    stopping: CancellationToken,
    leases: Vec<PgLease>,
    nats: async_nats::Client,
    embedded: Option<Embedded>,
}

impl App {
    /// Starts every part: servers where they are embedded, schema, writer, relay, projector, HTTP.
    ///
    /// # Errors
    /// Where PostgreSQL does not answer within 30 seconds or cannot be used, an address is taken,
    /// or an embedded server does not start. NATS is not waited for.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let (embedded, database_url, nats_url) = match &config.servers {
            Servers::Embedded(data_dir) => {
                info!(data_dir = %data_dir.display(), "starting the embedded servers");
                let embedded = Embedded::start(&EmbeddedOptions::new(data_dir)).await?;
                let (database, nats) = (embedded.database_url(), embedded.nats_url());
                let urls = (database.to_owned(), nats.to_owned());
                (Some(embedded), urls.0, urls.1)
            }
            Servers::Given {
                database_url,
                nats_url,
            } => (None, database_url.clone(), nats_url.clone()),
        };
        let started = Self::start_on(&config, &database_url, nats_url).await;
        match started {
            Ok(app) => Ok(Self { embedded, ..app }),
            Err(error) => {
                if let Some(embedded) = embedded {
                    embedded.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn start_on(
        config: &Config,
        database_url: &str,
        nats_url: String,
    ) -> anyhow::Result<Self> {
        // First: what counts before there is a recorder counts for nothing.
        let metrics = telemetry::metrics()?;
        let connect = postgres::connect_options(database_url)?;
        wait_for_database(&connect, config.allow_unsafe_database).await?;
        let mut tasks = JoinSet::new();
        let cancel = CancellationToken::new();
        let parts = Parts::start(config, connect, &mut tasks, &cancel)?;
        let options = NatsOptions {
            stream: config.nats_stream.clone(),
            subject_prefix: config.nats_prefix.clone(),
            replicas: config.nats_replicas,
            ..NatsOptions::new(nats_url)
        };
        let client = nats::connect(&options).await?;
        let stream = EventStream::new(client.clone(), options);
        let holder = lease_holder(&config.servers);
        let alarm = Alarm::default();
        let mut leases =
            spawn_relay_and_projector(&mut tasks, &parts, stream, holder, alarm.clone(), &cancel);
        if config.verify_per_second > 0 {
            let projector = parts.projector();
            let lease = PgLease::new(
                parts.pool.clone(),
                self_check::LEASE,
                holder,
                self_check::LEASE_TTL,
            );
            leases.push(lease.clone());
            let check = SelfCheck::new(projector, lease, config.verify_per_second);
            spawn_until(&mut tasks, "self-check", &cancel, |token| check.run(token));
        }
        spawn_expiry(
            &mut tasks,
            parts.pool.clone(),
            config.writer.key_ttl,
            &cancel,
        );

        let commands = TaskTracker::new();
        let repository = Arc::new(repository(config, &parts, &mut tasks, &cancel));
        let stopping = CancellationToken::new();
        let live = Live::new(repository.clone(), stopping.clone());
        let (feed, fresh) = (live.feed.clone(), parts.fresh.clone());
        spawn_until(&mut tasks, "feed", &cancel, |token| feed.run(fresh, token));
        let views = parts.views.clone();
        let readiness = ReadinessChecks::new(
            parts.pool.clone(),
            views.clone(),
            client.clone(),
            alarm,
            metrics,
        );
        let api = Api {
            orders: repository.clone(),
            history: repository,
            reads: Reads {
                views,
                hot_views: parts.hot_views.clone(),
                projected: Arc::clone(&parts.projected),
                awaited: Arc::clone(&parts.awaited),
            },
            live,
            health: Arc::new(readiness),
            tasks: commands.clone(),
            default_currency: config.default_currency,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let router = http::router(api, &config.http);
        Ok(Self {
            listener,
            address,
            router,
            tasks,
            commands,
            cancel,
            stopping,
            leases,
            nats: client,
            embedded: None,
        })
    }

    /// Where the service listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes, then stops: what was accepted is answered, idle connections
    /// are closed, leases are given back.
    ///
    /// # Errors
    /// Where a background task ended by itself, or something did not stop in time.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            listener,
            router,
            mut tasks,
            commands,
            cancel,
            stopping,
            leases,
            nats,
            embedded,
            ..
        } = self;
        let server = http::serve(listener, router, stopping.clone());
        tokio::pin!(server);

        let ended = tokio::select! {
            () = stop => Ok(()),
            error = first_death(&mut tasks) => Err(error),
            () = &mut server => Err(anyhow!("the HTTP server ended by itself")),
        };
        stopping.cancel();
        let drained = timeout(DRAIN_DEADLINE, async {
            // The server drops the router when it is done, and with it its way to the writer.
            server.await;
            commands.close();
            commands.wait().await;
        });
        if drained.await.is_err() {
            warn!("requests did not end within {DRAIN_DEADLINE:?}, their connections are cut");
        }
        cancel.cancel();
        let released = timeout(TASKS_DEADLINE, async {
            stop_tasks(tasks, &leases).await;
        });
        if released.await.is_err() {
            warn!("background tasks did not end within {TASKS_DEADLINE:?}");
        }
        nats::close(&nats).await;
        if let Some(embedded) = embedded
            && timeout(SERVERS_DEADLINE, embedded.stop()).await.is_err()
        {
            warn!("the embedded servers did not end within {SERVERS_DEADLINE:?}");
        }
        info!("stopped");
        ended
    }
}

/// Waits until the background tasks have ended, and lets others go on at once.
async fn stop_tasks(mut tasks: JoinSet<&'static str>, leases: &[PgLease]) {
    use crate::event_sourcing::Lease;

    for lease in leases {
        if let Err(error) = lease.release().await {
            warn!(
                error = &error as &dyn std::error::Error,
                "lease not given back"
            );
        }
    }
    while let Some(task) = tasks.join_next().await {
        if let Err(error) = task {
            error!(%error, "a background task ended badly");
        }
    }
}

/// Waits until a background task ends: none of them does while all is well.
async fn first_death(tasks: &mut JoinSet<&'static str>) -> anyhow::Error {
    match tasks.join_next().await {
        Some(Ok(name)) => anyhow!("the {name} ended by itself"),
        Some(Err(error)) => anyhow!(error).context("a background task died"),
        None => anyhow!("no background task is left"),
    }
}

/// Waits for PostgreSQL and brings its schema up to date.
///
/// # Errors
/// Where it does not answer in time, or cannot be used.
pub async fn wait_for_database(
    connect: &PgConnectOptions,
    allow_unsafe: bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + DATABASE_PATIENCE;
    let mut has_warned = false;
    loop {
        match postgres::prepare(connect, allow_unsafe).await {
            Ok(()) => return Ok(()),
            Err(PrepareError::Unavailable(error)) if Instant::now() < deadline => {
                if !has_warned {
                    warn!(%error, "waiting for PostgreSQL");
                    has_warned = true;
                }
                sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Who this process is to the others. An embedded database serves one process at a time, for its
/// data directory is locked: whoever comes after a killed one is the same holder and need not wait
/// for its leases to run out.
fn lease_holder(servers: &Servers) -> Uuid {
    match servers {
        Servers::Embedded(_) => Uuid::from_u128(1),
        Servers::Given { .. } => new_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_background_task_that_panics_or_ends_is_named() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("on purpose") });
        let panicked = first_death(&mut tasks).await;
        tasks.spawn(async { "relay" });
        let ended = first_death(&mut tasks).await;

        assert!(format!("{panicked:#}").contains("a background task died"));
        assert_eq!(ended.to_string(), "the relay ended by itself");
    }
}
