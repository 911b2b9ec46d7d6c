//! Scripts that read.

use std::ops::Range;

use anyhow::Context;

use super::{OrderShares, Random, order_id, query};
use crate::load::{AfterAnswer, Answer, Script};

/// Reads random orders by id.
pub struct Get {
    orders: Range<u64>,
    random: Random,
}

impl Get {
    /// Reads some of these orders.
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

/// Repeats the same request.
pub struct Repeat(pub &'static str);

impl Script for Repeat {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        query(out, format_args!("{}", self.0), format_args!(""));
        true
    }
}

/// Reads each order once and keeps its `ETag`.
pub struct Etags {
    orders: Range<u64>,
    /// The `ETag`s, in the order of the orders.
    pub found: Vec<String>,
}

impl Etags {
    /// Reads these orders over one connection.
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

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> anyhow::Result<AfterAnswer> {
        let etag = answer.header("etag: ").context("no ETag")?;
        self.found.push(std::str::from_utf8(etag)?.to_owned());
        Ok(AfterAnswer::Next)
    }
}

/// Reads orders with `If-None-Match`. They have not changed.
pub struct Unchanged {
    orders: Range<u64>,
    etags: Vec<String>,
    rounds: OrderShares,
}

impl Unchanged {
    /// Reads the orders whose `ETag`s are known.
    pub fn new(etags: &Etags, connections: usize) -> Self {
        Self {
            orders: etags.orders.clone(),
            etags: etags.found.clone(),
            rounds: OrderShares::new(etags.found.len(), connections),
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

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> anyhow::Result<AfterAnswer> {
        anyhow::ensure!(
            answer.status == 304,
            "status {} instead of 304",
            answer.status
        );
        Ok(AfterAnswer::Next)
    }
}
