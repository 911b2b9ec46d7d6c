//! A TCP proxy in front of a server. On command it loses or delays packets, and holds or breaks
//! connections.

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

/// What the proxy does with the bytes that it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Loses one in this number of the client's packets and breaks the connection: the server never
    /// gets the request.
    CutBefore(usize),
    /// Loses one in this number of the server's packets and breaks the connection: the server has
    /// handled the request, but the client does not get the answer.
    CutAfter(usize),
    /// Passes everything on after this delay.
    Delay(Duration),
    /// Passes nothing on until the mode changes, then everything: a network partition that ends.
    Hold,
    /// Drops everything. After the mode changes, connections over which something was sent are broken.
    Blackhole,
    /// Breaks all connections and accepts no new ones.
    Refuse,
}

/// The address of the server.
#[derive(Debug, Clone)]
pub enum Server {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A proxy in front of one server. It runs until the runtime ends.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    lost: Arc<AtomicUsize>,
    packets: Arc<AtomicUsize>,
    /// How many connections were made.
    made: Arc<AtomicUsize>,
    /// The connections up to this number stay open, but nothing is passed on any more.
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

    /// A proxy in front of the PostgreSQL with this URL (a unix socket), and the URL of the proxy.
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

    /// A proxy in front of the NATS with this URL, and the URL of the proxy.
    pub fn to_nats(url: &str) -> (Self, String) {
        let url: async_nats::ServerAddr = url.parse().expect("a URL of NATS");
        let mut through = url.clone().into_inner();
        let address = format!("{}:{}", url.host(), url.port());
        let proxy = Self::to(Server::Tcp(address.parse().expect("an address")));
        through
            .set_port(Some(proxy.address.port()))
            .expect("a URL with a port");
        (proxy, through.to_string())
    }

    /// Changes the mode.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// From now on the existing connections stay open but pass nothing on, whatever the mode is.
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
        // If the server is down, the client's connection is closed, too.
        let Ok(server) = server else { return };
        client.set_nodelay(true).expect("TCP_NODELAY");
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = split(server);
        let cut = CancellationToken::new();
        let requests =
            self.clone()
                .pass_on(number, Way::ToServer, from_client, to_server, cut.clone());
        tokio::spawn(requests);
        self.pass_on(number, Way::ToClient, from_server, to_client, cut)
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

    /// Applies the mode to a packet. Returns whether it is passed on.
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
