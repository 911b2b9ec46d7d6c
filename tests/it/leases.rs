//! Leases: a dead holder is replaced at once, a hung one when its lease has run out.

use std::time::Duration;

use orders::{
    event_sourcing::{Epoch, Lease, Pulse},
    postgres::{
        self, PgLease,
        heartbeat::{self, Heartbeat},
    },
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{eventually, servers::fresh_database};

/// How long the leases of the tests last, if a test does not wait for their end.
const TTL: Duration = Duration::from_mins(1);

/// A process that may hold the lease.
struct Process {
    lease: PgLease,
    holder: Uuid,
    connect: PgConnectOptions,
    heartbeat: Option<JoinHandle<()>>,
}

impl Process {
    fn new(connect: &PgConnectOptions, ttl: Duration) -> Self {
        let holder = Uuid::now_v7();
        let pool = postgres::pool(connect.clone(), 2);
        Self {
            lease: PgLease::new(pool, "test", holder, ttl),
            holder,
            connect: connect.clone(),
            heartbeat: None,
        }
    }

    /// Starts the heartbeat, and waits until its session keeps the process's lock.
    async fn start_heartbeat(&mut self, pool: &PgPool) {
        let heartbeat = Heartbeat {
            connect: self.connect.clone(),
            holder: Some(self.holder),
        };
        let (beat, _pulse) = Pulse::new();
        self.heartbeat = Some(tokio::spawn(heartbeat::run(heartbeat, beat)));
        let holder = self.holder;
        eventually("the session keeps the lock", || async move {
            let is_alive: bool = sqlx::query_scalar("select is_alive($1)")
                .bind(holder)
                .fetch_one(pool)
                .await
                .unwrap();
            is_alive.then_some(())
        })
        .await;
    }

    /// Ends the session, as the kernel does when the process is killed.
    async fn lose_session(&mut self) {
        let heartbeat = self.heartbeat.take().unwrap();
        heartbeat.abort();
        assert!(heartbeat.await.is_err());
    }

    async fn hold(&self) -> Option<i64> {
        self.lease.hold().await.unwrap().map(|Epoch(epoch)| epoch)
    }
}

/// Two processes on a new database. The first one holds the lease.
async fn two_processes(ttl: Duration) -> (Process, Process, PgPool) {
    let (options, _) = fresh_database().await;
    let pool = postgres::pool(options.clone(), 2);
    let (first, second) = (Process::new(&options, ttl), Process::new(&options, ttl));
    assert_eq!(first.hold().await, Some(1));
    (first, second, pool)
}

#[tokio::test]
async fn a_holder_whose_session_has_ended_is_replaced_long_before_its_lease_runs_out() {
    let (mut first, mut second, pool) = two_processes(TTL).await;
    first.start_heartbeat(&pool).await;
    second.start_heartbeat(&pool).await;
    assert_eq!(second.hold().await, None);

    first.lose_session().await;

    let epoch = eventually("the lease is taken", || second.hold()).await;
    assert_eq!(epoch, 2);
    // It is fenced, and may not take the lease back.
    assert_eq!(first.hold().await, None);
}

#[tokio::test]
async fn a_holder_that_hangs_is_replaced_when_its_lease_has_run_out() {
    let ttl = Duration::from_millis(300);
    let (mut first, mut second, pool) = two_processes(ttl).await;
    first.start_heartbeat(&pool).await;
    second.start_heartbeat(&pool).await;

    let epoch = eventually("the lease is taken", || second.hold()).await;

    assert_eq!(epoch, 2);
    let is_alive: bool = sqlx::query_scalar("select is_alive($1)")
        .bind(first.holder)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(is_alive, "the holder hung, it did not die");
}

#[tokio::test]
async fn processes_without_a_session_do_not_take_the_lease_from_each_other() {
    let (first, second, _pool) = two_processes(TTL).await;

    assert_eq!(second.hold().await, None);
    assert_eq!(first.hold().await, Some(1));
}

#[tokio::test]
async fn a_lease_that_ends_later_than_a_lease_can_is_free() {
    let (mut first, second, pool) = two_processes(TTL).await;
    first.start_heartbeat(&pool).await;
    assert_eq!(second.hold().await, None);

    // As after a clock that was set back by an hour.
    sqlx::query("update leases set until = until + interval '1 hour'")
        .execute(&pool)
        .await
        .unwrap();

    assert_eq!(second.hold().await, Some(2));
}

#[tokio::test]
async fn a_process_that_connects_again_keeps_its_leases_while_its_old_session_still_exists() {
    let (mut first, mut second, pool) = two_processes(TTL).await;
    first.start_heartbeat(&pool).await;
    second.start_heartbeat(&pool).await;
    let mut old = first.heartbeat.take().unwrap();

    first.start_heartbeat(&pool).await;
    old.abort();
    assert!((&mut old).await.is_err());

    for _ in 0..20 {
        assert_eq!(second.hold().await, None);
    }
    assert_eq!(first.hold().await, Some(1));
}
