//! Asks PostgreSQL all the time whether it lives, on a connection of its own.
//!
//! A server that is stopped, cut off or overwhelmed keeps its connections open and says nothing; its
//! clients would wait for as long as their deadlines allow, one after another. Here one question is
//! always on its way, so that after a second and a half without an answer everybody knows.

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    select,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::event_sourcing::pulse::Beat;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause while there is no answer: whoever waits for the server wants to know at once.
const ANXIOUS_PAUSE: Duration = Duration::from_millis(50);
/// How long a question waits before it is asked on a new connection, too: the old one may be cut.
const DOUBT: Duration = Duration::from_millis(700);
/// How long no answer may come.
const SILENCE: Duration = Duration::from_millis(1400);

/// Keeps `pulse` until the task is dropped.
pub async fn run(connect: PgConnectOptions, pulse: Beat) {
    let (mut connection, mut was_alive) = (None, true);
    loop {
        let answer = timeout(SILENCE, ask(connection.take(), &connect)).await;
        let lives = match answer {
            Ok(Answer::Alive(kept)) => {
                connection = kept;
                true
            }
            Ok(Answer::None) | Err(_) => false,
        };
        pulse.set(lives);
        if lives != was_alive {
            was_alive = lives;
            metrics::counter!("orders_database_pulse_changes_total").increment(1);
            if lives {
                info!("PostgreSQL answers again");
            } else {
                warn!("PostgreSQL does not answer");
            }
        }
        sleep(if lives { PAUSE } else { ANXIOUS_PAUSE }).await;
    }
}

/// What came back.
enum Answer {
    /// The server answered, if only that it has no room for us.
    Alive(Option<PgConnection>),
    /// Nobody is there.
    None,
}

async fn ask(connection: Option<PgConnection>, connect: &PgConnectOptions) -> Answer {
    let Some(mut connection) = connection else {
        return ask_anew(connect).await;
    };
    let known = async move {
        let answered = connection.ping().await;
        answered.map(|()| connection)
    };
    let in_doubt = async {
        sleep(DOUBT).await;
        ask_anew(connect).await
    };
    select! {
        answered = known => match answered {
            Ok(connection) => Answer::Alive(Some(connection)),
            Err(_) => ask_anew(connect).await,
        },
        answer = in_doubt => answer,
    }
}

async fn ask_anew(connect: &PgConnectOptions) -> Answer {
    match PgConnection::connect_with(connect).await {
        Ok(connection) => Answer::Alive(Some(connection)),
        // Starting up and shutting down (57P03, 57P01) are answers of nobody who can help.
        Err(sqlx::Error::Database(error))
            if !error.code().is_some_and(|code| code.starts_with("57")) =>
        {
            Answer::Alive(None)
        }
        Err(_) => Answer::None,
    }
}
