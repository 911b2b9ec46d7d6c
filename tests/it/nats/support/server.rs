//! A private `nats-server`.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use orders::nats::{EventStream, NatsOptions, connect};
use tempfile::TempDir;

/// A private `nats-server`.
pub struct NatsServer {
    port: u16,
    store: TempDir,
    process: Child,
}

impl NatsServer {
    /// Starts a server on a free port with an empty store.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let store = tempfile::tempdir().unwrap();
        let process = spawn(port, &store);
        Self {
            port,
            store,
            process,
        }
    }

    pub fn options(&self) -> NatsOptions {
        NatsOptions::new(format!("nats://127.0.0.1:{}", self.port))
    }

    /// The default stream, on a connection of its own.
    pub async fn stream(&self) -> EventStream {
        let options = self.options();
        EventStream::new(connect(&options).await.unwrap(), options)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the killed server again on its store.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, &self.store);
    }

    /// Starts the killed server again with an empty store.
    pub fn restart_empty(&mut self) {
        self.store = tempfile::tempdir().unwrap();
        self.restart();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, store: &TempDir) -> Child {
    let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
    Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(store.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
