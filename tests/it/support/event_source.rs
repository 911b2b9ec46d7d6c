//! A reader of `text/event-stream`, as browsers read it.

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use super::PATIENCE;

/// A message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id; empty if it has none.
    pub id: String,
    /// Its name.
    pub event: String,
    /// Its data as JSON.
    pub data: Value,
}

impl Message {
    /// The id as a position.
    pub fn position(&self) -> i64 {
        self.id.parse().expect("a position")
    }
}

/// An open stream.
pub struct EventSource {
    /// The response with its headers.
    pub response: Response,
    read: String,
}

impl EventSource {
    /// Reads a response. It must begin with the opening comment.
    pub async fn open(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let mut source = Self {
            response,
            read: String::new(),
        };
        let opening = source.block().await.expect("an opening");
        assert_eq!(opening.lines().next(), Some(": connected"));
        assert!(opening.lines().any(|line| line == "retry: 3000"));
        source
    }

    /// The next message; `None` after the end of the response, clean or not.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let value = block.lines().find_map(|line| line.strip_prefix(name));
                value.unwrap_or_default().to_owned()
            };
            let data = field("data: ");
            if !data.is_empty() {
                return Some(Message {
                    id: field("id: "),
                    event: field("event: "),
                    data: serde_json::from_str(&data).expect("JSON"),
                });
            }
        }
    }

    /// The next `count` messages.
    pub async fn take(&mut self, count: usize) -> Vec<Message> {
        let mut messages = vec![];
        while messages.len() < count {
            messages.push(self.next().await.expect("another message"));
        }
        messages
    }

    /// The text before the next empty line.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("a chunk in time").ok()??;
            self.read.push_str(str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}
