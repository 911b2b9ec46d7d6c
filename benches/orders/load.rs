//! A small load generator: one thread, non-blocking sockets, one request in flight per connection.
//!
//! It is written by hand because each request differs by its order and key, and because it shares
//! two cores with what it measures: it parses only a status and a length. The row `generator`
//! compares it with `wrk`.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The requests of a run.
pub trait Script {
    /// Writes the next request of a connection; `false` if there is none left.
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool;

    /// Handles an answer with status 2xx or 304. Other statuses end the run with an error.
    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> anyhow::Result<AfterAnswer> {
        let _ = (connection, answer);
        Ok(AfterAnswer::Next)
    }
}

/// What a connection does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAnswer {
    /// It sends its next request when that is due.
    Next,
    /// It immediately sends another request, which is not counted.
    FollowUp,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its status line and headers.
    head: &'a [u8],
}

impl<'a> Answer<'a> {
    /// A header's value. `name` is lower case and ends with a colon and a blank.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        header(self.head, name.as_bytes())
    }
}

/// How much to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// The services; connections are spread over them.
    pub addresses: Vec<SocketAddr>,
    /// How many connections.
    pub connections: usize,
    /// How long; `None`: until the script has no more requests.
    pub duration: Option<Duration>,
    /// Requests a second, on a fixed schedule; `None`: each as soon as the last one is answered.
    pub rate: Option<f64>,
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The time until the last answer.
    pub seconds: f64,
    /// How long each answer took, in microseconds. On a schedule this counts from the time at which
    /// the request was due.
    pub micros: Vec<f64>,
}

impl Run {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.seconds
    }
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    began: Instant,
    is_follow_up: bool,
    is_busy: bool,
}

struct Generator<'a> {
    load: Load,
    script: &'a mut dyn Script,
    connections: Vec<Connection>,
    /// Connections without a request in flight.
    idle: Vec<usize>,
    busy: usize,
    began: Instant,
    last: Instant,
    due: Instant,
    run: Run,
}

impl Load {
    /// Runs until the script has no more requests.
    pub fn until_the_end(mut self) -> Self {
        self.duration = None;
        self
    }

    /// Sends requests until the run is over and waits for the last answers.
    ///
    /// # Errors
    /// At the first answer that is not a success, and if a connection fails.
    pub fn run(self, script: &mut dyn Script) -> anyhow::Result<Run> {
        let mut poll = Poll::new()?;
        let connections = (0..self.connections)
            .map(|index| connect(&poll, self.addresses[index % self.addresses.len()], index))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let now = Instant::now();
        let mut generator = Generator {
            load: self,
            script,
            idle: (0..connections.len()).rev().collect(),
            connections,
            busy: 0,
            began: now,
            last: now,
            due: now,
            run: Run::default(),
        };
        generator.work(&mut poll)?;
        generator.run.seconds = (generator.last - generator.began).as_secs_f64();
        Ok(generator.run)
    }
}

fn connect(poll: &Poll, address: SocketAddr, index: usize) -> anyhow::Result<Connection> {
    let stream =
        std::net::TcpStream::connect(address).context("the service takes no connection")?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry()
        .register(&mut stream, Token(index), interest)?;
    Ok(Connection {
        stream,
        out: Vec::with_capacity(4096),
        written: 0,
        input: vec![0; 64 * 1024],
        filled: 0,
        began: Instant::now(),
        is_follow_up: false,
        is_busy: false,
    })
}

impl Generator<'_> {
    fn work(&mut self, poll: &mut Poll) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.send_due_requests()?;
            if self.busy == 0 && self.is_over() {
                return Ok(());
            }
            poll.poll(&mut events, Some(self.pause()))
                .or_else(|error| match error.kind() {
                    ErrorKind::Interrupted => Ok(()),
                    _ => Err(error),
                })?;
            for event in &events {
                let Token(index) = event.token();
                if self.connections[index].is_busy {
                    self.advance(index)?;
                }
            }
            ensure!(self.last.elapsed() < PATIENCE, "no answer for {PATIENCE:?}");
        }
    }

    fn is_over(&self) -> bool {
        let is_late = |duration| self.began.elapsed() >= duration;
        self.load.duration.is_none_or(is_late)
    }

    fn may_send(&self) -> bool {
        self.load
            .duration
            .is_none_or(|duration| self.began.elapsed() < duration)
    }

    fn pause(&self) -> Duration {
        match self.load.rate {
            Some(_) if !self.idle.is_empty() => self
                .due
                .saturating_duration_since(Instant::now())
                .min(PATIENCE),
            _ => PATIENCE,
        }
    }

    /// Sends the requests that are due over idle connections.
    fn send_due_requests(&mut self) -> anyhow::Result<()> {
        while !self.idle.is_empty() && self.may_send() {
            let began = match self.load.rate {
                None => Instant::now(),
                Some(rate) => {
                    if self.due > Instant::now() {
                        break;
                    }
                    let due = self.due;
                    self.due += Duration::from_secs_f64(1.0 / rate);
                    due
                }
            };
            let Some(index) = self.idle.pop() else { break };
            self.send(index, began)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, began: Instant) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        connection.out.clear();
        if !self.script.request(index, &mut connection.out) {
            return Ok(());
        }
        (connection.written, connection.filled) = (0, 0);
        connection.began = began;
        connection.is_busy = true;
        self.busy += 1;
        connection.write()
    }

    fn advance(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        connection.write()?;
        let Some((head, length, status)) = connection.read()? else {
            return Ok(());
        };
        self.last = Instant::now();
        connection.is_busy = false;
        self.busy -= 1;
        let answer = Answer {
            status,
            head: &connection.input[..head],
        };
        if !(200..300).contains(&status) && status != 304 {
            let request = String::from_utf8_lossy(&connection.out);
            let text = String::from_utf8_lossy(&connection.input[..length]);
            bail!("refused: {request}\n{text}");
        }
        if !connection.is_follow_up {
            let micros = (self.last - connection.began).as_secs_f64() * 1e6;
            self.run.micros.push(micros);
        }
        let then = self.script.answer(index, &answer)?;
        connection.is_follow_up = then == AfterAnswer::FollowUp;
        if then == AfterAnswer::FollowUp || (self.load.rate.is_none() && self.may_send()) {
            return self.send(index, self.last);
        }
        self.idle.push(index);
        Ok(())
    }
}

impl Connection {
    fn write(&mut self) -> anyhow::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what has arrived. Once the answer is complete: the end of its head, the end of its body
    /// and its status.
    fn read(&mut self) -> anyhow::Result<Option<(usize, usize, u16)>> {
        loop {
            if self.filled == self.input.len() {
                self.input.resize(self.filled * 2, 0);
            }
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => bail!("the service closed a connection"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if let Some(complete) = parse(&self.input[..self.filled])? {
                return Ok(Some(complete));
            }
        }
    }
}

fn parse(input: &[u8]) -> anyhow::Result<Option<(usize, usize, u16)>> {
    let Some(head) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = head + 4;
    let status = std::str::from_utf8(input.get(9..12).context("a short status line")?)?;
    let status = status.parse().context("a status line without a status")?;
    let length = match header(&input[..head], b"content-length: ") {
        Some(length) => std::str::from_utf8(length)?.parse::<usize>()?,
        None => 0,
    };
    Ok((input.len() >= head + length).then_some((head, head + length, status)))
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.strip_suffix(b"\r").unwrap_or(value))
}
