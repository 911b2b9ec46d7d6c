//! How often the database is looked at, and when a read waits no longer.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicI64, AtomicU32, Ordering},
};

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::*;

/// A database with a position, which counts how often it is looked at.
#[derive(Default)]
struct Database {
    position: AtomicI64,
    looks: AtomicU32,
}

impl Database {
    async fn look(&self) -> Result<Position, Infallible> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
        Ok(Position::new(self.position.load(Ordering::SeqCst)))
    }

    fn looks(&self) -> u32 {
        self.looks.load(Ordering::SeqCst)
    }
}

async fn wait(watch: &PositionWatch, database: &Database, required: i64, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let required = Position::new(required);
    let look = || database.look();
    let Ok(is_reached) = watch.reports().wait_for(required, deadline, look).await;
    is_reached
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_thousand_reads_look_as_often_as_one() {
    let mut looks = vec![];
    for reads in [1, 1000] {
        let (watch, database) = (PositionWatch::default(), Database::default());

        let waiting = (0..reads).map(|_| wait(&watch, &database, 5, SECOND));
        let reached = join_all(waiting).await;

        assert_eq!(reached, vec![false; reads]);
        looks.push(database.looks());
    }

    assert!((80..=100).contains(&looks[0]), "{looks:?}");
    assert_eq!(looks[0], looks[1]);
}

#[tokio::test(start_paused = true)]
async fn one_look_ends_the_wait_of_all_reads_that_it_suffices_for() {
    let (watch, database) = (PositionWatch::default(), Database::default());
    database.position.store(5, Ordering::SeqCst);

    let waiting = [3, 5, 4, 6, 5].map(async |required| {
        let began = Instant::now();
        let is_reached = wait(&watch, &database, required, SECOND).await;
        (is_reached, began.elapsed() < 3 * LOOK_AGAIN)
    });

    let (soon, at_the_end) = ((true, true), (false, false));
    let expected = [soon, soon, soon, at_the_end, soon];
    assert_eq!(join_all(waiting).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_report_of_the_projector_ends_the_wait_without_a_look() {
    let (watch, database) = (PositionWatch::default(), Database::default());

    let projector = async {
        sleep(Duration::from_millis(5)).await;
        watch.projected(Position::new(7));
    };
    let waiting = wait(&watch, &database, 7, SECOND);
    let (reached, ()) = tokio::join!(waiting, projector);

    assert!(reached);
    assert_eq!(database.looks(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_read_looks_when_the_one_that_did_hangs_up() {
    let (watch, database) = (PositionWatch::default(), Database::default());

    let hangs_up = timeout(SECOND / 4, wait(&watch, &database, 5, SECOND));
    let stays = wait(&watch, &database, 5, SECOND);
    let appears = async {
        sleep(SECOND / 2).await;
        database.position.store(5, Ordering::SeqCst);
    };
    let began = Instant::now();
    let (_, reached, ()) = tokio::join!(hangs_up, stays, appears);

    assert!(reached);
    assert!(began.elapsed() < SECOND / 2 + 3 * LOOK_AGAIN);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_while_nobody_waits() {
    let (watch, database) = (PositionWatch::default(), Database::default());
    wait(&watch, &database, 5, SECOND / 10).await;
    let looks = database.looks();

    sleep(10 * SECOND).await;

    assert_eq!(database.looks(), looks);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_went_back_is_waited_for_again() {
    let (watch, database) = (PositionWatch::default(), Database::default());
    watch.projected(Position::new(9));
    let reports = watch.reports();
    reports.add(Position::new(4));

    let appears = async {
        sleep(SECOND / 2).await;
        database.position.store(9, Ordering::SeqCst);
    };
    let began = Instant::now();
    let (reached, ()) = tokio::join!(wait(&watch, &database, 9, SECOND), appears);

    assert!(reached);
    assert!(began.elapsed() >= SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_query_does_not_hide_a_report_that_came_meanwhile() {
    let (watch, database) = (PositionWatch::default(), Database::default());
    let reports = watch.reports();
    watch.projected(Position::new(9));
    reports.add(Position::new(4));

    assert!(wait(&watch, &database, 9, SECOND).await);
    assert_eq!(database.looks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_read_model_is_known_to_be_behind_only_while_somebody_looks() {
    let (watch, database) = (PositionWatch::default(), Database::default());
    let five = Position::new(5);
    assert!(!watch.is_known_behind(five));

    let looks = wait(&watch, &database, 5, SECOND);
    let (_, is_known, is_lower_known) = tokio::join!(
        looks,
        async {
            sleep(SECOND / 2).await;
            watch.is_known_behind(five)
        },
        async {
            sleep(SECOND / 2).await;
            watch.is_known_behind(Position::ZERO)
        },
    );

    assert!(is_known);
    assert!(!is_lower_known);
    assert!(!watch.is_known_behind(five));
}
