//! Everything that a round attacks: a PostgreSQL and a nats-server of its own, two instances of the
//! service, and a link between each instance and each server.

use std::{str::FromStr, time::Duration};

use async_nats::jetstream;
use orders::{
    embedded::{EmbeddedOptions, PrivateNats, PrivatePostgres},
    postgres,
};
use sqlx::{
    AssertSqlSafe, Executor, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::{
    instance::Instance,
    schedule::{Server, Which},
};
use crate::support::{
    proxy::{Mode, Proxy},
    service::{DataDir, orders},
};

/// The name of the stream.
pub const STREAM: &str = "EVENTS";

/// Lets the checkpoint's moves be looked at afterwards: they commit with them.
const WATCH_CHECKPOINT: &str = "
    create table chaos_checkpoint_moves (
        number bigint generated always as identity, position bigint not null, epoch bigint not null);
    create function chaos_watch_checkpoint() returns trigger language plpgsql as $$
    begin
        insert into chaos_checkpoint_moves (position, epoch) values (new.position, new.epoch);
        return new;
    end $$;
    create trigger a_chaos_watch_checkpoint before update on projection_checkpoint
        for each row execute function chaos_watch_checkpoint();";

/// The servers, the links and the instances.
pub struct Fleet {
    pub data: DataDir,
    pub postgres: Mutex<PrivatePostgres>,
    pub nats: Mutex<PrivateNats>,
    pub database: PgPool,
    pub instances: [Instance; 2],
    /// Purges leave a hole at the front of the stream: how far it may reach.
    pub purged: Mutex<i64>,
    links: [(Proxy, Proxy); 2],
    database_url: String,
    nats_url: String,
}

impl Fleet {
    /// Starts everything on fresh directories. `sql` is run before the instances start; they get
    /// these variables.
    pub async fn start(name: &str, sql: &str, variables: &[(&str, &str)]) -> Self {
        let data = DataDir::new(name);
        let options = EmbeddedOptions::new(data.path());
        let (postgres, nats) =
            tokio::try_join!(PrivatePostgres::start(&options), PrivateNats::start(&options))
                .expect("the servers start");
        let (database_url, nats_url) = (postgres.database_url(), nats.nats_url());
        let connect = PgConnectOptions::from_str(&database_url).expect("a URL");
        postgres::prepare(&connect, false)
            .await
            .expect("migrations apply");
        let database = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy(&database_url)
            .expect("a URL");
        let prepare = format!("{WATCH_CHECKPOINT}{sql}");
        database
            .execute(AssertSqlSafe(prepare))
            .await
            .expect("the database is prepared");
        let mut links = vec![];
        let instances = [0, 1].map(|number| {
            let (to_postgres, database_through) = Proxy::to_postgres(&database_url);
            let (to_nats, nats_through) = Proxy::to_nats(&nats_url);
            links.push((to_postgres, to_nats));
            let mut settings = vec![
                ("DATABASE_URL".to_owned(), database_through),
                ("NATS_URL".to_owned(), nats_through),
                // What the self-check would repair is what is looked for.
                ("ORDERS_VERIFY_PER_SECOND".to_owned(), "0".to_owned()),
                ("ORDERS_SNAPSHOT_EVERY".to_owned(), "5".to_owned()),
            ];
            settings.extend(
                variables
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            );
            let log = data.path().join(format!("instance-{number}.log"));
            Instance::start(&format!("instance {number}"), settings, log)
        });
        Self {
            postgres: Mutex::new(postgres),
            nats: Mutex::new(nats),
            database,
            instances,
            purged: Mutex::new(0),
            links: links.try_into().expect("two"),
            data,
            database_url,
            nats_url,
        }
    }

    /// The link of an instance to a server.
    pub fn link(&self, which: Which, server: Server) -> &Proxy {
        let (to_postgres, to_nats) = &self.links[which];
        match server {
            Server::Postgres => to_postgres,
            Server::Nats => to_nats,
        }
    }

    /// All links work from now on.
    pub fn heal(&self) {
        for (to_postgres, to_nats) in &self.links {
            to_postgres.set(Mode::Pass);
            to_nats.set(Mode::Pass);
        }
    }

    /// Where the instances listen.
    pub fn urls(&self) -> [watch::Receiver<Option<String>>; 2] {
        [0, 1].map(|which: Which| self.instances[which].url())
    }

    /// JetStream, past all links; nothing while NATS is down.
    pub async fn jetstream(&self) -> Option<jetstream::Context> {
        let connecting = async_nats::connect(&self.nats_url);
        let client = timeout(Duration::from_secs(2), connecting).await.ok()?.ok()?;
        Some(jetstream::new(client))
    }

    /// Runs `orders verify`, past all links; what it says where it finds a difference.
    pub async fn verify(&self) -> Result<(), String> {
        let output = orders(&["verify"], &[("DATABASE_URL", &self.database_url)]).await;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("orders verify: {output:?}"))
    }

    /// Stops everything; what was wrong with how instances ended.
    pub async fn stop(self) -> (Vec<String>, DataDir) {
        let [one, other] = self.instances;
        let (mut troubles, others) = tokio::join!(one.stop(), other.stop());
        troubles.extend(others);
        self.database.close().await;
        tokio::join!(
            async { self.postgres.into_inner().stop().await },
            async { self.nats.into_inner().stop().await },
        );
        (troubles, self.data)
    }
}
