//! A network between the service and PostgreSQL that loses answers: the server has done what it was
//! asked, and nobody learns so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, UnixStream, tcp::OwnedWriteHalf, unix::OwnedReadHalf},
};

/// One in so many answers is lost, and the connection with it.
const LOST: usize = 25;

/// A proxy in front of a database.
#[derive(Clone, Default)]
pub struct LossyDatabase {
    /// Whether it loses answers.
    pub loses: Arc<AtomicBool>,
    /// How many it has lost.
    pub lost: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

impl LossyDatabase {
    /// A proxy that loses nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens, and returns the database's URL through it.
    pub fn in_front_of(&self, url: &str) -> String {
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        let socket = options.get_socket().expect("a unix socket").clone();
        let socket = socket.join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&socket).await else {
                    continue;
                };
                client.set_nodelay(true).expect("TCP_NODELAY");
                let (mut questions, to_client) = client.into_split();
                let (answers, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    // Either end may break the connection.
                    let _ = copy(&mut questions, &mut to_server).await;
                });
                tokio::spawn(proxy.clone().pass_on(answers, to_client));
            }
        });
        let database = options.get_database().expect("a database");
        let user = options.get_username();
        format!("postgres://{user}@{address}/{database}?sslmode=disable")
    }

    /// Passes answers on until one is lost.
    async fn pass_on(self, mut answers: OwnedReadHalf, mut to_client: OwnedWriteHalf) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read) = answers.read(&mut bytes).await {
            if read == 0 {
                break;
            }
            if self.loses.load(Ordering::Relaxed)
                && self.answers.fetch_add(1, Ordering::Relaxed) % LOST == LOST - 1
            {
                self.lost.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    }
}
