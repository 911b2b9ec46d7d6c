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
struct Journey {
    number: u64,
    id: Uuid,
    lines: std::ops::Range<usize>,
    /// How many of the lines were sent.
    sent: usize,
    is_correction_due: bool,
}

/// Each connection takes one order after the other through its life.
pub struct Mix {
    lines: Rc<[Line]>,
    next_line: usize,
    /// The number of the next order.
    pub next: u64,
    journeys: Vec<Option<Journey>>,
}

impl Mix {
    /// Orders from this number on.
    pub fn new(lines: Rc<[Line]>, first: u64, connections: usize) -> Self {
        let mut mix = Self {
            next_line: Random::new().below(lines.len()),
            lines,
            next: first,
            journeys: vec![None; connections],
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

    fn json(&self, journey: &Journey, line: usize) -> String {
        let body = self.lines[journey.lines.start + line].json();
        let id = line_id(journey.id, line);
        format!(r#"{{"itemId":"{id}",{}"#, body.trim_start_matches('{'))
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Journey {
        let number = self.next;
        self.next += 1;
        let lines = self.invoice();
        let journey = Journey {
            number,
            id: order_id(number),
            sent: lines.len().div_ceil(2),
            lines,
            is_correction_due: false,
        };
        let begin = journey.lines.start;
        let first = &self.lines[begin..begin + journey.sent];
        create(out, journey.id, first, |line| self.json(&journey, line));
        journey
    }

    /// The next command of an order; `false` where it was its last.
    fn go_on(&self, journey: &mut Journey, out: &mut Vec<u8>) -> bool {
        let id = journey.id;
        if journey.is_correction_due {
            journey.is_correction_due = false;
            let line = line_id(id, journey.sent - 1);
            let sent = &self.lines[journey.lines.start + journey.sent - 1];
            let body = format!(r#"{{"quantity":{}}}"#, sent.quantity % 9999 + 1);
            let path = format_args!("/v1/orders/{id}/items/{line}");
            command(out, "PATCH", path, None, &body);
            return true;
        }
        if journey.sent < journey.lines.len() {
            let body = self.json(journey, journey.sent);
            journey.sent += 1;
            journey.is_correction_due = journey.sent.is_multiple_of(CORRECTION);
            let path = format_args!("/v1/orders/{id}/items");
            command(out, "POST", path, None, &body);
            return true;
        }
        if journey.number.is_multiple_of(CANCELLATION) {
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
        self.journeys[connection] = match self.journeys[connection].take() {
            None => Some(self.begin(out)),
            Some(mut journey) => self.go_on(&mut journey, out).then_some(journey),
        };
        true
    }
}
