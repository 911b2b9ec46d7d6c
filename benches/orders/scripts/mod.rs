//! The requests that connections send, over raw HTTP/1.1.

mod commands;
mod mix;
mod reads;
mod visibility;

use std::io::Write;

use uuid::Uuid;

pub use self::{
    commands::{AddItem, Create, HotOrder},
    mix::Mix,
    reads::{Etags, Get, Repeat, Unchanged},
    visibility::Visibility,
};

/// The first id of an order. Ids rise, as the service's own do, and `pgbench` can compute them: see
/// `floors::ID`.
const FIRST_ID: u128 = 0x019a_af00_0000_7000_8000_0000_0000_0000;

/// The id of the order with this number.
pub fn order_id(number: u64) -> Uuid {
    Uuid::from_u128(FIRST_ID + u128::from(number))
}

/// The id of a line of an order, for scripts that choose it.
fn line_id(order: Uuid, line: usize) -> Uuid {
    // Different from all ids of orders, and another one for each line.
    let line = u128::try_from(line).unwrap_or_default();
    Uuid::from_u128(order.as_u128() ^ (line << 80) ^ (1 << 63))
}

/// Divides orders among connections: each connection works on its own orders, in a circle.
#[derive(Debug, Clone)]
pub struct OrderShares {
    connections: usize,
    turns: Vec<usize>,
    orders: usize,
}

impl OrderShares {
    /// Divides this number of orders among this number of connections.
    pub fn new(orders: usize, connections: usize) -> Self {
        Self {
            connections,
            turns: vec![0; connections],
            orders,
        }
    }

    /// The next order of a connection.
    pub fn next(&mut self, connection: usize) -> usize {
        let turn = &mut self.turns[connection];
        let index = *turn * self.connections + connection;
        if index < self.orders {
            *turn += 1;
            return index;
        }
        *turn = 1;
        connection % self.orders
    }
}

/// A cheap source of random numbers and keys (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Another sequence for each run.
    pub fn new() -> Self {
        Self(Uuid::now_v7().as_u128() as u64)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.number() as usize % limit.max(1)
    }

    /// An idempotency key.
    pub fn key(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.number(), self.number())
    }
}

/// Writes a command with a JSON body. Writing to memory cannot fail.
fn command(
    out: &mut Vec<u8>,
    method: &str,
    path: std::fmt::Arguments<'_>,
    key: Option<Uuid>,
    body: &str,
) {
    let length = body.len();
    let _ = write!(
        out,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n"
    );
    if let Some(key) = key {
        let _ = write!(out, "Idempotency-Key: {key}\r\n");
    }
    let _ = write!(out, "\r\n{body}");
}

/// Writes a GET request. Each of `headers` ends with CR and LF.
fn query(out: &mut Vec<u8>, path: std::fmt::Arguments<'_>, headers: std::fmt::Arguments<'_>) {
    let _ = write!(
        out,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    );
}
