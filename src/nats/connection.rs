//! One connection to NATS for the whole process: it is made in the background and made again
//! whenever it breaks, for as long as the service runs.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::NatsOptions;

/// How soon a silent connection is found out: two pings without an answer break it.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a request waits for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long closing the connection may take: there may be none.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// Why there will never be a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be read.
    #[error("the NATS address {address} cannot be read")]
    Address {
        /// The address, or the part of it that is wrong.
        address: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The client refused the options.
    #[error("the NATS client cannot be set up")]
    Options(#[source] async_nats::ConnectError),
}

/// Sets up the connection and returns at once, whether NATS answers or not.
///
/// # Errors
/// Where the address is wrong; never because a server does not answer.
pub async fn connect(options: &NatsOptions) -> Result<Client, ConnectError> {
    let servers = addresses(&options.url)?;
    let connected = Arc::new(AtomicBool::new(false));
    metrics::gauge!("orders_nats_connected").set(0.0);
    ConnectOptions::new()
        .name("orders")
        .retry_on_initial_connect()
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            report(&event, &connected);
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(ConnectError::Options)
}

/// Whether the connection stands right now.
#[must_use]
pub fn is_connected(client: &Client) -> bool {
    match client.connection_state() {
        State::Connected => true,
        State::Pending | State::Disconnected => false,
    }
}

/// Closes the connection for good and waits until it is, so that a server that stops next is not
/// taken for lost.
pub async fn close(client: &Client) {
    let closed = async {
        if client.drain().await.is_ok() {
            // Once the connection is closed, nothing can be flushed any more.
            while client.flush().await.is_ok() {}
        }
    };
    let _ = timeout(CLOSE_DEADLINE, closed).await;
}

/// Passwords are part of addresses, so an address that cannot be read is shown without them.
fn addresses(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    url.split(',')
        .map(|part| {
            part.trim().parse().map_err(|source| ConnectError::Address {
                address: part
                    .rsplit_once('@')
                    .map_or(part, |(_, host)| host)
                    .trim()
                    .to_owned(),
                source,
            })
        })
        .collect()
}

fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(5)).unwrap_or(5);
    Duration::from_millis(50)
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST_PAUSE)
}

/// Logs a change of the connection once; what repeats with every attempt is for debugging.
fn report(event: &Event, connected: &AtomicBool) {
    match event {
        Event::Connected => {
            metrics::gauge!("orders_nats_connected").set(1.0);
            if !connected.swap(true, Ordering::Relaxed) {
                info!("connected to NATS");
            }
        }
        Event::Closed => {
            metrics::gauge!("orders_nats_connected").set(0.0);
            connected.store(false, Ordering::Relaxed);
            debug!("the connection to NATS is closed");
        }
        Event::Disconnected => {
            metrics::gauge!("orders_nats_connected").set(0.0);
            if connected.swap(false, Ordering::Relaxed) {
                warn!("the connection to NATS is lost, trying to get it back");
            }
        }
        Event::SlowConsumer(_) => warn!(%event, "messages from NATS were dropped on arrival"),
        Event::ServerError(_) => warn!(%event, "NATS reports an error"),
        Event::LameDuckMode | Event::Draining | Event::ClientError(_) => {
            debug!(%event, "NATS connection event");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_are_separated_by_commas() {
        let servers = addresses("nats://one:4222, nats://two:4333").unwrap();

        assert_eq!(servers.len(), 2);
        assert_eq!(servers[1].port(), 4333);
    }

    #[test]
    fn an_unreadable_address_is_shown_without_its_password() {
        let error = addresses("http://user:secret@host:1").unwrap_err();

        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn the_pause_between_attempts_stays_short() {
        assert_eq!(pause(1), Duration::from_millis(50));
        assert_eq!(pause(1000), LONGEST_PAUSE);
    }
}
