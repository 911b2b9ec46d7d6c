//! The process's one connection to NATS. It is made in the background, and made again whenever it
//! breaks, as long as the service runs.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::options::NatsOptions;

/// How often the server is pinged. Two pings without an answer close the connection.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long closing may take. There may be no connection to close.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// Why a connection can never be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not valid.
    #[error("the NATS address {address} is not valid")]
    Address {
        /// The address without user and password.
        address: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The client refused the options.
    #[error("the NATS client cannot be set up")]
    Options(#[source] async_nats::ConnectError),
}

/// Starts to connect and returns at once, whether NATS answers or not.
///
/// # Errors
/// The address is not valid. A server that does not answer is not an error.
pub async fn connect(options: &NatsOptions) -> Result<Client, ConnectError> {
    let (connect, servers) = connect_options(&options.url)?;
    let connected = Arc::new(AtomicBool::new(false));
    metrics::gauge!("orders_nats_connected").set(0.0);
    connect
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

/// Whether the client is connected now.
#[must_use]
pub fn is_connected(client: &Client) -> bool {
    match client.connection_state() {
        State::Connected => true,
        State::Pending | State::Disconnected => false,
    }
}

/// Closes the connection for good and waits for that, so that no loss is logged when an embedded
/// server stops next.
pub async fn close(client: &Client) {
    let closed = async {
        if client.drain().await.is_ok() {
            // A flush fails once the connection is closed.
            while client.flush().await.is_ok() {}
        }
    };
    let _ = timeout(CLOSE_DEADLINE, closed).await;
}

/// Reads the addresses, and the credentials that the first address with any names: `user:password@`
/// or `token@`. The client library does not read them, and uses the same ones for all servers.
///
/// # Errors
/// An address is not valid.
pub fn connect_options(urls: &str) -> Result<(ConnectOptions, Vec<ServerAddr>), ConnectError> {
    let servers = addresses(urls)?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let options = servers
        .iter()
        .find_map(|server| {
            let user = decoded(server.username()?);
            Some(match server.password() {
                Some(password) => ConnectOptions::new().user_and_password(user, decoded(password)),
                None => ConnectOptions::new().token(user),
            })
        })
        .unwrap_or_default();
    Ok((options, servers))
}

/// Reads the addresses. An error shows the address without its password.
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

/// The pause before an attempt to connect: it doubles from 50 ms up to a second.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(5)).unwrap_or(5);
    Duration::from_millis(50)
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST_PAUSE)
}

/// Logs each change of the connection once. Events that repeat with every attempt are for
/// debugging.
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
            debug!("connection to NATS closed");
        }
        Event::Disconnected => {
            metrics::gauge!("orders_nats_connected").set(0.0);
            if connected.swap(false, Ordering::Relaxed) {
                warn!("connection to NATS lost, connecting again");
            }
        }
        Event::SlowConsumer(_) => {
            warn!(%event, "messages from NATS were dropped because the receive buffer was full");
        }
        Event::ServerError(_) => warn!(%event, "NATS reported an error"),
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
    fn an_invalid_address_is_shown_without_its_password() {
        let error = addresses("http://user:secret@host:1").unwrap_err();

        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn the_pause_between_attempts_stays_short() {
        assert_eq!(pause(1), Duration::from_millis(50));
        assert_eq!(pause(1000), LONGEST_PAUSE);
    }
}
