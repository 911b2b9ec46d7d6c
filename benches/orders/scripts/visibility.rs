//! Measures how long a command takes to become visible: some commands are followed by a read with
//! the command's `Consistency-Token`, which waits until the read model shows it.

use std::time::Instant;

use anyhow::Context;

use super::{AddItem, order_id, query};
use crate::load::{AfterAnswer, Answer, Script};

/// Adds lines, and reads after some of them.
pub struct Visibility {
    commands: AddItem,
    /// One in this number of commands is followed by a read.
    every: usize,
    sent: usize,
    /// For each connection the token of its command, and when that was answered.
    waiting: Vec<Option<(String, Instant)>>,
    /// The order to read. Any order will do: a token is a position of the whole read model.
    order: u64,
    /// The times from a command's answer to the answer of the read, in microseconds.
    pub micros: Vec<f64>,
}

impl Visibility {
    /// Reads the order after one in `every` of these commands.
    pub fn new(commands: AddItem, every: usize, order: u64, connections: usize) -> Self {
        Self {
            commands,
            every: every.max(1),
            sent: 0,
            waiting: vec![None; connections],
            order,
            micros: vec![],
        }
    }
}

impl Script for Visibility {
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        if let Some((token, _)) = &self.waiting[connection] {
            let id = order_id(self.order);
            query(
                out,
                format_args!("/v1/orders/{id}"),
                format_args!("Consistency-Token: {token}\r\nPrefer: wait=10\r\n"),
            );
            return true;
        }
        self.commands.request(connection, out)
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> anyhow::Result<AfterAnswer> {
        if let Some((_, since)) = self.waiting[connection].take() {
            self.micros.push(since.elapsed().as_secs_f64() * 1e6);
            return Ok(AfterAnswer::Next);
        }
        self.sent += 1;
        if !self.sent.is_multiple_of(self.every) {
            return Ok(AfterAnswer::Next);
        }
        let token = answer.header("consistency-token: ").context("no token")?;
        let token = std::str::from_utf8(token)?.to_owned();
        self.waiting[connection] = Some((token, Instant::now()));
        Ok(AfterAnswer::FollowUp)
    }
}
