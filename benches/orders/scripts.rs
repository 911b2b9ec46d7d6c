//! What connections send: prepared requests over raw HTTP/1.1.

use std::io::Write;

use uuid::Uuid;

use super::{load::Script, retail::Line};

/// The orders that commands and reads are spread over: each connection has its own share, and goes
/// round it.
#[derive(Debug, Clone)]
pub struct Rounds {
    connections: usize,
    turns: Vec<usize>,
    orders: usize,
}

impl Rounds {
    /// Shares so many orders between so many connections.
    pub fn new(orders: usize, connections: usize) -> Self {
        Self {
            connections,
            turns: vec![0; connections],
            orders,
        }
    }

    /// The next order of a connection; `true` where it is the first again.
    pub fn next(&mut self, connection: usize) -> (usize, bool) {
        let turn = &mut self.turns[connection];
        let index = *turn * self.connections + connection;
        if index < self.orders {
            *turn += 1;
            return (index, false);
        }
        *turn = 1;
        (connection % self.orders, true)
    }
}

/// Makes random keys, as a client's library would, cheaply.
#[derive(Debug, Clone)]
pub struct Keys(u64);

impl Keys {
    /// Other keys for each run.
    pub fn new() -> Self {
        Self(Uuid::now_v7().as_u128() as u64)
    }

    fn number(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.number(), self.number())
    }
}

/// Writes a request with a JSON body.
pub fn post(out: &mut Vec<u8>, path: std::fmt::Arguments<'_>, key: Option<Uuid>, body: &str) {
    let length = body.len();
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "POST {path} HTTP/1.1\r\nHost: orders\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n"
    );
    if let Some(key) = key {
        let _ = write!(out, "Idempotency-Key: {key}\r\n");
    }
    let _ = write!(out, "\r\n{body}");
}

/// Writes a GET request; `headers` end each with CR and LF.
pub fn get(out: &mut Vec<u8>, path: std::fmt::Arguments<'_>, headers: &str) {
    let _ = write!(out, "GET {path} HTTP/1.1\r\nHost: orders\r\n{headers}\r\n");
}

/// Adds real lines to orders.
pub struct AddItem<'a> {
    orders: &'a [Uuid],
    bodies: &'a [String],
    rounds: Rounds,
    keys: Option<Keys>,
    next: usize,
}

impl<'a> AddItem<'a> {
    /// To these orders; each command with a key of its own where `is_keyed`.
    pub fn new(
        orders: &'a [Uuid],
        bodies: &'a [String],
        connections: usize,
        is_keyed: bool,
    ) -> Self {
        let keys = Keys::new();
        Self {
            orders,
            bodies,
            rounds: Rounds::new(orders.len(), connections),
            next: keys.0 as usize % bodies.len(),
            keys: is_keyed.then_some(keys),
        }
    }
}

impl Script for AddItem<'_> {
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let (order, _) = self.rounds.next(connection);
        let id = self.orders[order];
        self.next = (self.next + 1) % self.bodies.len();
        let key = self.keys.as_mut().map(Keys::next);
        post(
            out,
            format_args!("/v1/orders/{id}/items"),
            key,
            &self.bodies[self.next],
        );
        true
    }
}

/// Creates orders of five real lines.
pub struct Create<'a> {
    lines: &'a [Line],
    next: usize,
    /// The orders that were asked for.
    pub made: Vec<Uuid>,
    at_most: usize,
    keys: Option<Keys>,
}

/// Lines of a new order.
pub const LINES: usize = 5;

impl<'a> Create<'a> {
    /// So many orders at most.
    pub fn new(lines: &'a [Line], at_most: usize, is_keyed: bool) -> Self {
        let keys = Keys::new();
        Self {
            lines,
            next: keys.0 as usize % lines.len(),
            made: vec![],
            at_most,
            keys: is_keyed.then_some(keys),
        }
    }
}

impl Script for Create<'_> {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        if self.made.len() == self.at_most {
            return false;
        }
        let id = Uuid::now_v7();
        self.made.push(id);
        if self.next + LINES > self.lines.len() {
            self.next = 0;
        }
        let lines = &self.lines[self.next..self.next + LINES];
        self.next += LINES;
        let customer = &lines[0].customer;
        let items: Vec<String> = lines.iter().map(Line::json).collect();
        let items = items.join(",");
        let body = format!(
            r#"{{"id":"{id}","customerId":"{customer}","currency":"GBP","items":[{items}]}}"#
        );
        let key = self.keys.as_mut().map(Keys::next);
        post(out, format_args!("/v1/orders"), key, &body);
        true
    }
}

/// Reads orders by id.
pub struct Get<'a> {
    orders: &'a [Uuid],
    rounds: Rounds,
}

impl<'a> Get<'a> {
    /// Each connection its own share of these orders.
    pub fn new(orders: &'a [Uuid], connections: usize) -> Self {
        Self {
            orders,
            rounds: Rounds::new(orders.len(), connections),
        }
    }
}

impl Script for Get<'_> {
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let (order, _) = self.rounds.next(connection);
        get(out, format_args!("/v1/orders/{}", self.orders[order]), "");
        true
    }
}

/// Sends the same request again and again.
pub struct Same(pub &'static str);

impl Script for Same {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        get(out, format_args!("{}", self.0), "");
        true
    }
}
