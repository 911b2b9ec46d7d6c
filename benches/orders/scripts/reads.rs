//! Connections that read.

use std::ops::Range;

use anyhow::Context;

use super::{Random, Rounds, order_id, query};
use crate::load::{Answer, Script, Then};

/// Reads orders by id, at random.
pub struct Get {
    orders: Range<u64>,
    random: Random,
}

impl Get {
    /// Any of these.
    pub fn new(orders: Range<u64>) -> Self {
        Self {
            orders,
            random: Random::new(),
        }
    }
}

impl Script for Get {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        let count = self.orders.end - self.orders.start;
        let id = order_id(self.orders.start + self.random.number() % count);
        query(out, format_args!("/v1/orders/{id}"), format_args!(""));
        true
    }
}

/// Sends the same request again and again.
pub struct Same(pub &'static str);

impl Script for Same {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        query(out, format_args!("{}", self.0), format_args!(""));
        true
    }
}

/// Reads each order once, and keeps its `ETag`.
pub struct Etags {
    orders: Range<u64>,
    /// In the order of the orders.
    pub found: Vec<String>,
}

impl Etags {
    /// Of these orders, over one connection.
    pub fn new(orders: Range<u64>) -> Self {
        Self {
            orders,
            found: vec![],
        }
    }
}

impl Script for Etags {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        let number = self.orders.start + self.found.len() as u64;
        query(
            out,
            format_args!("/v1/orders/{}", order_id(number)),
            format_args!(""),
        );
        number < self.orders.end
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> anyhow::Result<Then> {
        let etag = answer.header("etag: ").context("no ETag")?;
        self.found.push(std::str::from_utf8(etag)?.to_owned());
        Ok(Then::Next)
    }
}

/// Asks whether orders have changed; they have not.
pub struct Unchanged {
    orders: Range<u64>,
    etags: Vec<String>,
    rounds: Rounds,
}

impl Unchanged {
    /// Orders and what was found of them.
    pub fn new(etags: &Etags, connections: usize) -> Self {
        Self {
            orders: etags.orders.clone(),
            etags: etags.found.clone(),
            rounds: Rounds::new(etags.found.len(), connections),
        }
    }
}

impl Script for Unchanged {
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let index = self.rounds.next(connection);
        let id = order_id(self.orders.start + index as u64);
        let etag = &self.etags[index];
        query(
            out,
            format_args!("/v1/orders/{id}"),
            format_args!("If-None-Match: {etag}\r\n"),
        );
        true
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> anyhow::Result<Then> {
        anyhow::ensure!(answer.status == 304, "{} where 304 was due", answer.status);
        Ok(Then::Next)
    }
}
