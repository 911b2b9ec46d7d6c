//! Applies each fault to the fleet, and ends it.

use std::{fs, time::Duration};

use async_nats::HeaderMap;
use futures::future::join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Executor};
use tokio::time::{sleep, timeout};

use super::{
    fleet::Fleet,
    schedule::{Fault, Schedule, ServerKind},
};
use crate::support::proxy::Mode;

/// The pause between two expirations of the leases: short, so that another instance can take a lease
/// before its holder renews it.
const LEASES_PAUSE: Duration = Duration::from_millis(8);
/// How long the postmaster may take to notice a killed backend.
const NOTICE: Duration = Duration::from_millis(300);
/// The pause between two terminations of all backends.
const BACKENDS_PAUSE: Duration = Duration::from_millis(150);

impl Fleet<'_> {
    /// Applies all faults of the schedule, each at its time, and returns when they are over. Faults
    /// without an end (slow commits) are ended then.
    pub async fn play(&self, schedule: &Schedule) {
        join_all(schedule.faults.iter().map(|scheduled| async {
            sleep(scheduled.at).await;
            self.apply(&scheduled.fault).await;
        }))
        .await;
        self.heal();
        self.slow_commits(Duration::ZERO).await;
    }

    async fn apply(&self, fault: &Fault) {
        match fault {
            Fault::Calm(lasts) => sleep(*lasts).await,
            Fault::KillInstance(instance) => self.instances[*instance].signal(Signal::SIGKILL),
            Fault::PauseInstance(instance, pause) => self.pause_instance(*instance, *pause).await,
            Fault::KillNats => {
                let mut nats = self.servers.nats.lock().await;
                nats.kill().await;
                nats.restart().await.expect("NATS starts again");
            }
            Fault::PauseNats(pause) => {
                // The lock keeps other faults away from a stopped server.
                let nats = self.servers.nats.lock().await;
                pause_process(nats.pid(), *pause).await;
            }
            Fault::StopNats(lasts) => {
                let mut nats = self.servers.nats.lock().await;
                nats.stop().await;
                sleep(*lasts).await;
                nats.restart().await.expect("NATS starts again");
            }
            Fault::ForgeMessages(count) => self.forge_messages(*count).await,
            Fault::FillDisk(ServerKind::Postgres, lasts) => {
                let mut postgres = self.servers.postgres.lock().await;
                self.servers.fill_disk("postgres", *lasts).await;
                // PostgreSQL ends if it cannot even recover. Here nobody but us starts it again.
                if timeout(NOTICE, postgres.exited()).await.is_ok() {
                    postgres.restart().await.expect("PostgreSQL starts again");
                }
            }
            Fault::FillDisk(ServerKind::Nats, lasts) => {
                let mut nats = self.servers.nats.lock().await;
                self.servers.fill_disk("nats", *lasts).await;
                // JetStream stays off after a full disk until the server is started again.
                nats.restart().await.expect("NATS starts again");
            }
            Fault::LoseNatsStore => self.lose_nats_store().await,
            Fault::PurgeStream => self.purge().await,
            Fault::DeleteStream => self.delete_stream().await,
            Fault::KillPostmaster => {
                let mut postgres = self.servers.postgres.lock().await;
                postgres.kill().await;
                postgres.restart().await.expect("PostgreSQL starts again");
            }
            Fault::KillBackend => self.kill_backend().await,
            Fault::PausePostmaster(pause) => {
                let postgres = self.servers.postgres.lock().await;
                pause_process(postgres.pid(), *pause).await;
            }
            Fault::PauseBackend(pause) => {
                if let Some(pid) = self.signal_backend(Signal::SIGSTOP).await {
                    sleep(*pause).await;
                    let _ = kill(pid, Signal::SIGCONT);
                }
            }
            Fault::TerminateBackends(times) => {
                self.repeat(*times, BACKENDS_PAUSE, TERMINATE).await;
            }
            Fault::ExpireLeases(times) => self.repeat(*times, LEASES_PAUSE, EXPIRE).await,
            Fault::PostponeLeases => self.repeat(1, Duration::ZERO, POSTPONE).await,
            Fault::Link(instance, server, mode, lasts) => {
                self.link(*instance, *server).set(*mode);
                sleep(*lasts).await;
                self.link(*instance, *server).set(Mode::Pass);
            }
            Fault::SlowCommits(most) => self.slow_commits(*most).await,
            Fault::SetBackCheckpoint(by) => {
                let set_back = format!(
                    "update projection_checkpoint set position = greatest(0, position - {by})"
                );
                self.repeat(1, Duration::ZERO, &set_back).await;
            }
        }
    }

    async fn pause_instance(&self, instance: usize, pause: Duration) {
        self.instances[instance].signal(Signal::SIGSTOP);
        sleep(pause).await;
        self.instances[instance].signal(Signal::SIGCONT);
    }

    async fn lose_nats_store(&self) {
        let mut purged = self.purged.lock().await;
        let mut nats = self.servers.nats.lock().await;
        nats.kill().await;
        let store = self.servers.data.path().join("nats/jetstream");
        fs::remove_dir_all(store).expect("the store is deleted");
        nats.restart().await.expect("NATS starts again");
        // The new stream is filled from the first event on.
        *purged = 0;
    }

    /// Purges the stream, and notes up to which position the stream may now lack events.
    async fn purge(&self) {
        let mut purged = self.purged.lock().await;
        let Some(jetstream) = self.jetstream().await else {
            return;
        };
        let Ok(stream) = jetstream.get_stream(&self.stream).await else {
            return;
        };
        let answer = stream.purge().await;
        let stored = sqlx::query_scalar("select coalesce(max(position), 0) from events");
        *purged = match (answer, stored.fetch_one(&self.database).await) {
            (Ok(_), Ok(stored)) => stored,
            // The purge may have happened although its answer was lost.
            _ => i64::MAX,
        };
    }

    async fn delete_stream(&self) {
        let mut purged = self.purged.lock().await;
        let Some(jetstream) = self.jetstream().await else {
            return;
        };
        // An error means that the stream does not exist at the moment.
        if jetstream.delete_stream(&self.stream).await.is_ok() {
            *purged = 0;
        }
    }

    /// Publishes messages with the subject and the headers of events: of positions that the store has,
    /// and of positions far ahead.
    async fn forge_messages(&self, count: usize) {
        let Some(jetstream) = self.jetstream().await else {
            return;
        };
        for number in 0..count {
            let id = uuid::Uuid::now_v7();
            self.forged.lock().await.insert(id);
            let position = if number % 2 == 0 {
                number
            } else {
                1_000_000_000
            };
            let mut headers = HeaderMap::new();
            headers.insert("Event-Id", id.to_string());
            headers.insert("Event-Position", position.to_string());
            let subject = format!("{}.Order.OrderCreated", self.stream);
            let body = r#"{"type":"OrderCreated","data":{"customerId":"forged"}}"#;
            // An error means that the stream does not exist at the moment.
            let sent = jetstream.publish_with_headers(subject, headers, body.into());
            drop(sent.await);
        }
        drop(jetstream.client().flush().await);
    }

    /// Kills one backend, but never while the postmaster is paused or about to be killed: it would
    /// not notice the killed backend, and the other backends would wait for its locks forever, even
    /// after the postmaster has ended. PostgreSQL could not start again.
    async fn kill_backend(&self) {
        let _postmaster = self.servers.postgres.lock().await;
        self.signal_backend(Signal::SIGKILL).await;
        sleep(NOTICE).await;
    }

    /// Sends a signal to one backend, if possible to one that appends. Returns its process id.
    async fn signal_backend(&self, signal: Signal) -> Option<Pid> {
        let pid = "select pid from pg_stat_activity
                   where backend_type = 'client backend' and pid <> pg_backend_pid()
                   order by state = 'active' desc, query like '%select append!_%' escape '!' desc limit 1";
        let pid = sqlx::query_scalar::<_, i32>(pid).fetch_optional(&self.database);
        let pid = Pid::from_raw(pid.await.ok()??);
        // It may just have ended by itself.
        kill(pid, signal).ok().map(|()| pid)
    }

    /// Runs a statement repeatedly. Errors are ignored: the server may be down.
    async fn repeat(&self, times: usize, pause: Duration, statement: &str) {
        for _ in 0..times {
            drop(self.database.execute(AssertSqlSafe(statement)).await);
            sleep(pause).await;
        }
    }

    /// Makes commits of appends slow, up to `most`; zero ends this.
    async fn slow_commits(&self, most: Duration) {
        let (drop_it, most) = (
            "drop trigger if exists chaos_slow_commits on events",
            most.as_secs_f64(),
        );
        let statement = if most > 0.0 {
            format!(
                "create or replace function chaos_slow_commits() returns trigger language plpgsql
                 as $$ begin perform pg_sleep(random() * {most}); return null; end $$;
                 {drop_it};
                 create constraint trigger chaos_slow_commits after insert on events
                     deferrable initially deferred
                     for each row when (new.position % 4 = 0)
                     execute function chaos_slow_commits();"
            )
        } else {
            drop_it.to_owned()
        };
        drop(self.database.execute(AssertSqlSafe(statement)).await);
    }
}

const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()
      and datname = current_database()";

const POSTPONE: &str = "update leases set until = until + interval '1 hour'";

const EXPIRE: &str = "update leases set until = clock_timestamp() - interval '1 second'";

async fn pause_process(pid: Option<i32>, pause: Duration) {
    let Some(pid) = pid.map(Pid::from_raw) else {
        return;
    };
    kill(pid, Signal::SIGSTOP).expect("it runs");
    sleep(pause).await;
    kill(pid, Signal::SIGCONT).expect("it runs");
}
