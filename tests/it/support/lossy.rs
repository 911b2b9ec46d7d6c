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

/// A proxy in front of a database.
#[derive(Clone, Default)]
pub struct LossyDatabase {
    one_in: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
    /// Connections of this time or earlier are cut, and nobody is told.
    silenced: Arc<AtomicUsize>,
    made: Arc<AtomicUsize>,
    is_silent: Arc<AtomicBool>,
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

    /// From now on all connections, new ones too, stay open and say nothing.
    pub fn swallow_everything(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// Lets new connections through again. Those that were there stay open and say nothing.
    pub fn swallow_old_connections(&self) {
        self.silenced
            .store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
        self.is_silent.store(false, Ordering::SeqCst);
    }

    /// Waits for ever on a connection that is cut.
    async fn pass(&self, connection: usize) {
        if self.is_silent.load(Ordering::SeqCst)
            || connection <= self.silenced.load(Ordering::SeqCst)
        {
            std::future::pending::<()>().await;
        }
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
                let silent = proxy.clone();
                let Ok(server) = UnixStream::connect(&socket).await else {
                    continue;
                };
                let number = proxy.made.fetch_add(1, Ordering::SeqCst) + 1;
                client.set_nodelay(true).expect("TCP_NODELAY");
                let (mut questions, to_client) = client.into_split();
                let (answers, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    silent.pass(number).await;
                    // Either end may break the connection.
                    let _ = copy(&mut questions, &mut to_server).await;
                });
                tokio::spawn(proxy.clone().pass_on(number, answers, to_client));
            }
        });
        let database = options.get_database().expect("a database");
        let user = options.get_username();
        format!("postgres://{user}@{address}/{database}?sslmode=disable")
    }

    /// Passes answers on until one is lost.
    async fn pass_on(
        self,
        number: usize,
        mut answers: OwnedReadHalf,
        mut to_client: OwnedWriteHalf,
    ) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read) = answers.read(&mut bytes).await {
            if read == 0 {
                break;
            }
            self.pass(number).await;
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
