//! How long a command takes to become visible: after some of the commands, the order is read with
//! the command's `Consistency-Token`, which waits for the read model to show it.

use std::time::Instant;

use anyhow::Context;

use super::{AddItem, order_id, query};
use crate::load::{Answer, Script, Then};

/// Adds lines, and looks after some of them.
pub struct Visibility {
    commands: AddItem,
    /// Each how many commands one is followed by a read.
    every: usize,
    sent: usize,
    /// A connection's token, and when the command was answered.
    waiting: Vec<Option<(String, Instant)>>,
    /// An order to read; any will do, as a token counts for all of the read model.
    order: u64,
    /// From a command's answer to the answer of the read that shows it, in microseconds.
    pub micros: Vec<f64>,
}

impl Visibility {
    /// Looks after one in so `many` of these commands, at an order.
    pub fn new(commands: AddItem, many: usize, order: u64, connections: usize) -> Self {
        Self {
            commands,
            every: many.max(1),
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

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> anyhow::Result<Then> {
        if let Some((_, since)) = self.waiting[connection].take() {
            self.micros.push(since.elapsed().as_secs_f64() * 1e6);
            return Ok(Then::Next);
        }
        self.sent += 1;
        if !self.sent.is_multiple_of(self.every) {
            return Ok(Then::Next);
        }
        let token = answer.header("consistency-token: ").context("no token")?;
        let token = std::str::from_utf8(token)?.to_owned();
        self.waiting[connection] = Some((token, Instant::now()));
        Ok(Then::FollowUp)
    }
}
