//! A network link of our own: a TCP proxy in front of a server, which loses, delays, holds and cuts
//! what goes through it on command.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream, UnixStream},
    select,
    sync::watch,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// What the link does to the bytes that go through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Loses one in so many of the client's packets, and the connection with it: the server never
    /// learns what it was asked.
    CutBefore(usize),
    /// Loses one in so many of the server's packets, and the connection with it: the server has
    /// done what it was asked, and nobody learns so.
    CutAfter(usize),
    /// Passes everything on so much later.
    Delay(Duration),
    /// Passes nothing on until the mode changes, and then all of it: a partition that heals.
    Hold,
    /// Swallows everything. Who sent something meanwhile finds the connection broken afterwards.
    Blackhole,
    /// Breaks all connections and takes no new ones.
    Refuse,
}

/// Where the server is.
#[derive(Debug, Clone)]
pub enum Server {
    /// At an address.
    Tcp(SocketAddr),
    /// At a unix socket.
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A link to one server. It goes on as long as the runtime.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    lost: Arc<AtomicUsize>,
    packets: Arc<AtomicUsize>,
    /// How many connections were made.
    made: Arc<AtomicUsize>,
    /// Up to which of them nothing is passed on any more, and nobody is told.
    forgotten: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens, and passes everything on to `server`.
    pub fn to(server: Server) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let proxy = Self {
            address,
            mode: watch::Sender::new(Mode::Pass),
            lost: Arc::default(),
            packets: Arc::default(),
            made: Arc::default(),
            forgotten: Arc::default(),
        };
        tokio::spawn(proxy.clone().listen(listener, server));
        proxy
    }

    /// In front of the PostgreSQL with this URL (a unix socket); and the URL through it.
    pub fn to_postgres(url: &str) -> (Self, String) {
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        let socket = options.get_socket().expect("a unix socket");
        let socket = socket.join(format!(".s.PGSQL.{}", options.get_port()));
        let proxy = Self::to(Server::Unix(socket));
        let database = options.get_database().expect("a database");
        let (user, address) = (options.get_username(), proxy.address);
        let through = format!("postgres://{user}@{address}/{database}?sslmode=disable");
        (proxy, through)
    }

    /// In front of the NATS with this URL; and the URL through it.
    pub fn to_nats(url: &str) -> (Self, String) {
        let address = url.strip_prefix("nats://").expect("a URL of NATS");
        let proxy = Self::to(Server::Tcp(address.parse().expect("an address")));
        let through = format!("nats://{}", proxy.address);
        (proxy, through)
    }

    /// Does this from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// From now on the connections that are there stay open and say nothing, whatever the mode.
    pub fn forget_connections(&self) {
        self.forgotten
            .store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// How many packets were lost until now.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    async fn listen(self, listener: TcpListener, server: Server) {
        while let Ok((client, _)) = listener.accept().await {
            if *self.mode.borrow() == Mode::Refuse {
                continue;
            }
            tokio::spawn(self.clone().connect(client, server.clone()));
        }
    }

    async fn connect(self, client: TcpStream, server: Server) {
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        let server: io::Result<Box<dyn Stream>> = match server {
            Server::Unix(path) => UnixStream::connect(path)
                .await
                .map(|server| Box::new(server) as Box<dyn Stream>),
            Server::Tcp(address) => TcpStream::connect(address).await.and_then(|server| {
                server.set_nodelay(true)?;
                Ok(Box::new(server) as Box<dyn Stream>)
            }),
        };
        // The client learns of a server that is down by its own connection's end.
        let Ok(server) = server else { return };
        client.set_nodelay(true).expect("TCP_NODELAY");
        let (questions, to_client) = client.into_split();
        let (answers, to_server) = split(server);
        let cut = CancellationToken::new();
        let there = self
            .clone()
            .pass_on(number, Way::ToServer, questions, to_server, cut.clone());
        tokio::spawn(there);
        self.pass_on(number, Way::ToClient, answers, to_client, cut)
            .await;
    }

    /// Passes bytes on in one direction, until either direction ends.
    async fn pass_on(
        self,
        number: usize,
        way: Way,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        cut: CancellationToken,
    ) {
        let _cut = cut.clone().drop_guard();
        let mut mode = self.mode.subscribe();
        let mut bytes = vec![0; 1 << 16];
        loop {
            let read = select! {
                read = from.read(&mut bytes) => read,
                refused = mode.wait_for(|mode| *mode == Mode::Refuse) => { drop(refused); return }
                () = cut.cancelled() => return,
            };
            let Ok(read @ 1..) = read else { return };
            let passes = select! {
                passes = self.passes(way, &mut mode) => passes,
                () = cut.cancelled() => return,
            };
            if number <= self.forgotten.load(Ordering::SeqCst) {
                return cut.cancelled().await;
            }
            if !passes || to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }

    /// Does to a packet what the mode says; whether it goes on.
    async fn passes(&self, way: Way, mode: &mut watch::Receiver<Mode>) -> bool {
        let now = *mode.borrow_and_update();
        match (now, way) {
            (Mode::Pass, _)
            | (Mode::CutBefore(_), Way::ToClient)
            | (Mode::CutAfter(_), Way::ToServer) => true,
            (Mode::CutBefore(one_in), Way::ToServer) | (Mode::CutAfter(one_in), Way::ToClient) => {
                let number = self.packets.fetch_add(1, Ordering::Relaxed);
                let is_lost = number % one_in == one_in - 1;
                self.lost.fetch_add(usize::from(is_lost), Ordering::Relaxed);
                !is_lost
            }
            (Mode::Delay(delay), _) => {
                sleep(delay).await;
                true
            }
            (Mode::Hold, _) => {
                let healed = mode.wait_for(|mode| *mode != Mode::Hold).await;
                healed.is_ok_and(|mode| *mode != Mode::Refuse)
            }
            (Mode::Blackhole, _) => {
                drop(mode.wait_for(|mode| *mode != Mode::Blackhole).await);
                false
            }
            (Mode::Refuse, _) => false,
        }
    }
}
