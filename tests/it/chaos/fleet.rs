//! Everything that faults happen to: a PostgreSQL and a nats-server that no other test uses, two
//! instances of the service, and a link (a proxy) between each instance and each server.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    str::FromStr,
    time::Duration,
};

use async_nats::jetstream;
use orders::{
    embedded::{EmbeddedOptions, PrivateNats, PrivatePostgres},
    postgres,
};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{instance::Instance, schedule::ServerKind};
use crate::support::{
    connect_to_nats,
    proxy::{Mode, Proxy},
    service::{DataDir, orders},
    small_disk,
};

/// Records the moves of the checkpoint, in their own transactions, for the checker.
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

/// The size of the servers' disks in megabytes.
const DISK: usize = 400;

/// The PostgreSQL and the nats-server of many rounds.
pub struct Servers {
    pub data: DataDir,
    pub postgres: Mutex<PrivatePostgres>,
    pub nats: Mutex<PrivateNats>,
    database_url: String,
    nats_url: String,
    has_small_disks: bool,
}

/// The servers, the links and the instances of a round.
pub struct Fleet<'a> {
    pub servers: &'a Servers,
    pub database: PgPool,
    pub instances: [Instance; 2],
    /// The stream's name.
    pub stream: String,
    /// Up to this position the stream may lack events, because it was purged.
    pub purged: Mutex<i64>,
    /// The ids of forged messages, which may be in the stream.
    pub forged: Mutex<HashSet<Uuid>>,
    links: [(Proxy, Proxy); 2],
    database_url: String,
}

impl Servers {
    /// Starts both on a fresh directory, each on a small disk of its own if this user may mount one.
    pub async fn start(name: &str) -> Self {
        let data = DataDir::new(name);
        let has_small_disks =
            ["postgres", "nats"].map(|server| small_disk::mount(&data.path().join(server), DISK));
        let options = EmbeddedOptions::new(data.path());
        let (postgres, nats) = tokio::try_join!(
            PrivatePostgres::start(&options),
            PrivateNats::start(&options)
        )
        .expect("the servers start");
        let servers = Self {
            has_small_disks: has_small_disks == [true, true],
            data,
            database_url: postgres.database_url(),
            nats_url: nats.nats_url(),
            postgres: Mutex::new(postgres),
            nats: Mutex::new(nats),
        };
        // A checkpoint before the log fills the disk by itself.
        for statement in [
            "alter system set max_wal_size = '64MB'",
            "select pg_reload_conf()",
        ] {
            servers.execute(statement.to_owned()).await;
        }
        servers
    }

    /// Fills the disk of the server whose data is in this directory, and frees it after this time.
    /// Without a small disk nothing happens: a large one belongs to others, too.
    pub async fn fill_disk(&self, directory: &str, lasts: Duration) {
        if !self.has_small_disks {
            eprintln!("no disk was filled: only root can mount a small one");
            return;
        }
        let path = self.data.path().join(directory).join("filler");
        let mut filler = File::create(&path).expect("a file");
        let block = vec![0; 1 << 16];
        while filler.write_all(&block).is_ok() {}
        sleep(lasts).await;
        fs::remove_file(path).expect("the file is removed");
    }

    /// Stops both.
    pub async fn stop(self) {
        tokio::join!(
            async {
                self.postgres.into_inner().stop().await;
            },
            async {
                self.nats.into_inner().stop().await;
            },
        );
    }

    /// Drops the database of a round without violations. Otherwise each recovery of PostgreSQL would
    /// be slower: it syncs all files.
    pub async fn drop_database(&self, name: &str) {
        self.execute(format!("drop database {name} with (force)"))
            .await;
    }

    async fn execute(&self, statement: String) {
        let mut connection = PgConnection::connect(&self.database_url)
            .await
            .expect("PostgreSQL answers");
        connection
            .execute(AssertSqlSafe(statement))
            .await
            .expect("the statement is executed");
        connection.close().await.expect("the connection closes");
    }

    /// Creates a database of this name and returns its URL.
    async fn fresh_database(&self, name: &str) -> String {
        self.execute(format!("create database {name}")).await;
        let url = with_database(&self.database_url, name);
        let connect = PgConnectOptions::from_str(&url).expect("a URL");
        postgres::prepare(&connect, false)
            .await
            .expect("migrations apply");
        url
    }
}

impl<'a> Fleet<'a> {
    /// Starts two instances with these environment variables, on a database and a stream of this
    /// name. `sql` runs before they start.
    pub async fn start(
        servers: &'a Servers,
        name: &str,
        sql: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let database_url = servers.fresh_database(name).await;
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
            let (to_nats, nats_through) = Proxy::to_nats(&servers.nats_url);
            links.push((to_postgres, to_nats));
            let settings = [
                ("DATABASE_URL", &*database_through),
                ("NATS_URL", &*nats_through),
                ("ORDERS_NATS_STREAM", name),
                ("ORDERS_NATS_PREFIX", name),
                // The self-check would repair what the checker must find.
                ("ORDERS_VERIFY_PER_SECOND", "0"),
                ("ORDERS_SNAPSHOT_EVERY", "5"),
            ];
            let log = servers.data.path().join(format!("{name}-{number}.log"));
            let settings = settings.iter().chain(variables);
            let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Instance::start(&format!("instance {number}"), settings.collect(), log)
        });
        Self {
            servers,
            database,
            instances,
            stream: name.to_owned(),
            purged: Mutex::new(0),
            forged: Mutex::default(),
            links: links.try_into().expect("two"),
            database_url,
        }
    }

    /// The link of an instance to a server.
    pub fn link(&self, instance: usize, server: ServerKind) -> &Proxy {
        let (to_postgres, to_nats) = &self.links[instance];
        match server {
            ServerKind::Postgres => to_postgres,
            ServerKind::Nats => to_nats,
        }
    }

    /// Makes all links work.
    pub fn heal(&self) {
        for (to_postgres, to_nats) in &self.links {
            to_postgres.set(Mode::Pass);
            to_nats.set(Mode::Pass);
        }
    }

    /// Where the instances listen.
    pub fn urls(&self) -> [watch::Receiver<Option<String>>; 2] {
        [0, 1].map(|instance: usize| self.instances[instance].url())
    }

    /// JetStream, without a link in between; `None` while NATS is down.
    pub async fn jetstream(&self) -> Option<jetstream::Context> {
        let connecting = connect_to_nats(&self.servers.nats_url);
        let client = timeout(Duration::from_secs(2), connecting)
            .await
            .ok()?
            .ok()?;
        Some(jetstream::new(client))
    }

    /// Runs `orders verify`, without a link in between. Returns its output if it finds a difference.
    pub async fn verify(&self) -> Result<(), String> {
        let output = orders(&["verify"], &[("DATABASE_URL", &self.database_url)]).await;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("orders verify: {output:?}"))
    }

    /// Stops the instances. Returns how they failed during the round or at the end.
    pub async fn stop(self) -> Vec<String> {
        if let Some(jetstream) = self.jetstream().await {
            // This only saves space, so an error does not matter.
            drop(jetstream.delete_stream(&self.stream).await);
        }
        let [one, other] = self.instances;
        let (mut failures, others) = tokio::join!(one.stop(), other.stop());
        failures.extend(others);
        self.database.close().await;
        failures
    }
}

/// The URL of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let (server, query) = url.split_once('?').expect("a URL with a socket");
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}?{query}")
}
