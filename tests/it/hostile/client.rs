//! A client that sends bytes as they are.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, TestApp};

/// A TCP connection to the service.
pub struct RawClient {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The `code` of a problem document.
    pub fn code(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl RawClient {
    /// Connects to the service.
    pub async fn connect(app: &TestApp) -> Self {
        let address = app.url.strip_prefix("http://").expect("an HTTP URL");
        Self {
            stream: TcpStream::connect(address).await.expect("a connection"),
            unread: vec![],
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .await
            .expect("the service reads");
    }

    /// Sends bytes that the service may no longer read.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Hangs up, as far as the service can see, and can still see when the service ends the connection.
    pub async fn hang_up(&mut self) {
        self.stream.shutdown().await.expect("a connection");
    }

    /// Reads one answer with a `Content-Length`.
    pub async fn answer(&mut self) -> RawAnswer {
        loop {
            if let Some(answer) = self.take_answer() {
                return answer;
            }
            assert!(
                self.read_more().await,
                "the connection ended without an answer"
            );
        }
    }

    /// Whether the service ends the connection before `limit` has passed.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        timeout(limit, async { while self.read_more().await {} })
            .await
            .is_ok()
    }

    async fn read_more(&mut self) -> bool {
        let mut buffer = vec![0; 16 << 10];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
        // A reset is an end, too.
        let read = read.expect("the service answers or closes").unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..read]);
        read > 0
    }

    fn take_answer(&mut self) -> Option<RawAnswer> {
        let end = self
            .unread
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?
            + 4;
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        let length: usize = length.unwrap_or(0);
        let whole = end + length;
        if self.unread.len() < whole {
            return None;
        }
        let body = self.unread[end..whole].to_vec();
        self.unread.drain(..whole);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(RawAnswer { status, head, body })
    }
}
