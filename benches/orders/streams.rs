//! Live clients during the commands: many that follow one order each, and one that follows all.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread::{self, JoinHandle},
};

use anyhow::{Context, ensure};

use super::scripts::order_id;

/// Open streams. Dropping them closes them.
pub struct Streams {
    /// They get few events, which fit into the buffers of their sockets.
    _of_orders: Vec<TcpStream>,
    of_all: TcpStream,
    reader: Option<JoinHandle<u64>>,
}

impl Streams {
    /// Opens a stream for each of these orders, and one for all orders, which a thread reads.
    pub fn open(address: SocketAddr, orders: impl Iterator<Item = u64>) -> anyhow::Result<Self> {
        let of_orders = orders
            .map(|order| open(address, &format!("/v1/orders/{}/stream", order_id(order))))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let of_all = open(address, "/v1/orders/stream")?;
        let mut reading = of_all.try_clone()?;
        let reader = thread::spawn(move || {
            let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                bytes += count as u64;
            }
            bytes
        });
        Ok(Self {
            _of_orders: of_orders,
            of_all,
            reader: Some(reader),
        })
    }

    /// Closes the streams.
    ///
    /// # Errors
    /// If the stream of all orders showed nothing.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.of_all.shutdown(Shutdown::Both)?;
        let bytes = self.reader.take().and_then(|reader| reader.join().ok());
        ensure!(
            bytes.is_some_and(|bytes| bytes > 0),
            "a stream showed nothing"
        );
        Ok(())
    }
}

fn open(address: SocketAddr, path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("the service accepts no connection")?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut answer, mut buffer) = (String::new(), [0; 1024]);
    while !answer.contains(": connected") {
        let count = stream.read(&mut buffer)?;
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let is_good = count > 0 && answer.starts_with("HTTP/1.1 200");
        ensure!(is_good, "no stream: {answer}");
    }
    Ok(stream)
}
