//! Whole lives of real orders: created with some of an invoice's lines, the others added one by one,
//! now and then a quantity corrected, in the end completed, or cancelled.

use std::rc::Rc;

use uuid::Uuid;

use super::{Random, command, commands::create, line_id, order_id};
use crate::{load::Script, retail::Line};

/// Each how many added lines a quantity is corrected after.
const CORRECTION: usize = 8;
/// Each how many orders one is cancelled after.
const CANCELLATION: u64 = 20;

/// An order under way.
#[derive(Debug, Clone)]
struct Life {
    number: u64,
    id: Uuid,
    lines: std::ops::Range<usize>,
    /// How many of the lines were sent.
    sent: usize,
    is_correction_due: bool,
}

/// Each connection lives one order after the other.
pub struct Mix {
    lines: Rc<[Line]>,
    next_line: usize,
    /// The number of the next order.
    pub next: u64,
    lives: Vec<Option<Life>>,
}

impl Mix {
    /// Orders from this number on.
    pub fn new(lines: Rc<[Line]>, first: u64, connections: usize) -> Self {
        let mut mix = Self {
            next_line: Random::new().below(lines.len()),
            lines,
            next: first,
            lives: vec![None; connections],
        };
        // The rest of an invoice is none.
        mix.invoice();
        mix
    }

    /// Where the next invoice's lines are.
    fn invoice(&mut self) -> std::ops::Range<usize> {
        let begin = self.next_line;
        let invoice = &self.lines[begin].invoice;
        let length = self.lines[begin..]
            .iter()
            .take_while(|line| line.invoice == *invoice)
            .count();
        self.next_line = (begin + length) % self.lines.len();
        begin..begin + length
    }

    fn json(&self, life: &Life, line: usize) -> String {
        let body = self.lines[life.lines.start + line].json();
        let id = line_id(life.id, line);
        format!(r#"{{"itemId":"{id}",{}"#, body.trim_start_matches('{'))
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Life {
        let number = self.next;
        self.next += 1;
        let lines = self.invoice();
        let life = Life {
            number,
            id: order_id(number),
            sent: lines.len().div_ceil(2),
            lines,
            is_correction_due: false,
        };
        let begin = life.lines.start;
        let first = &self.lines[begin..begin + life.sent];
        create(out, life.id, first, |line| self.json(&life, line));
        life
    }

    /// The next command of an order; `false` where it was its last.
    fn go_on(&self, life: &mut Life, out: &mut Vec<u8>) -> bool {
        let id = life.id;
        if life.is_correction_due {
            life.is_correction_due = false;
            let line = line_id(id, life.sent - 1);
            let sent = &self.lines[life.lines.start + life.sent - 1];
            let body = format!(r#"{{"quantity":{}}}"#, sent.quantity % 9999 + 1);
            let path = format_args!("/v1/orders/{id}/items/{line}");
            command(out, "PATCH", path, None, &body);
            return true;
        }
        if life.sent < life.lines.len() {
            let body = self.json(life, life.sent);
            life.sent += 1;
            life.is_correction_due = life.sent.is_multiple_of(CORRECTION);
            let path = format_args!("/v1/orders/{id}/items");
            command(out, "POST", path, None, &body);
            return true;
        }
        if life.number.is_multiple_of(CANCELLATION) {
            let path = format_args!("/v1/orders/{id}/cancel");
            command(out, "POST", path, None, r#"{"reason":"changed my mind"}"#);
        } else {
            command(
                out,
                "POST",
                format_args!("/v1/orders/{id}/complete"),
                None,
                "{}",
            );
        }
        false
    }
}

impl Script for Mix {
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        self.lives[connection] = match self.lives[connection].take() {
            None => Some(self.begin(out)),
            Some(mut life) => self.go_on(&mut life, out).then_some(life),
        };
        true
    }
}
