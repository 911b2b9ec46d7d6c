//! A network between the service and PostgreSQL that loses answers: the server has done what it was
//! asked, and nobody learns so.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, UnixStream, tcp::OwnedWriteHalf, unix::OwnedReadHalf},
};

/// A proxy in front of a database.
#[derive(Clone, Default)]
pub struct LossyDatabase {
    one_in: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

impl LossyDatabase {
    /// A proxy that loses nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on loses one in so many answers, and the connection with it. One in one: takes no
    /// new connections, either.
    pub fn lose_one_in(&self, answers: usize) {
        self.one_in.store(answers, Ordering::Relaxed);
    }

    /// From now on loses nothing; how many answers were lost until now?
    pub fn lose_nothing(&self) -> usize {
        self.lose_one_in(0);
        self.lost.load(Ordering::Relaxed)
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
                if proxy.one_in.load(Ordering::Relaxed) == 1 {
                    continue;
                }
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
            let one_in = self.one_in.load(Ordering::Relaxed);
            let number = self.answers.fetch_add(1, Ordering::Relaxed);
            if one_in > 0 && number % one_in == one_in - 1 {
                self.lost.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    }
}
