//! Where NATS is, and the names that the service uses there.

/// The servers, the stream and its subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// One or more server addresses, separated by commas. One of them may hold user and password, or a
    /// token; they are used for all servers.
    pub url: String,
    /// The name of the stream.
    pub stream: String,
    /// The first token (or tokens) of every subject.
    pub subject_prefix: String,
    /// How many servers of a cluster keep a copy of each message.
    pub replicas: usize,
}

impl NatsOptions {
    /// The defaults for the servers at `url`: stream `EVENTS`, subjects `events.>`, one copy.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            stream: "EVENTS".to_owned(),
            subject_prefix: "events".to_owned(),
            replicas: 1,
        }
    }

    /// The wildcard that matches every subject of the stream.
    #[must_use]
    pub fn subjects(&self) -> String {
        format!("{}.>", self.subject_prefix)
    }
}
