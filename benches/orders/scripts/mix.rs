//! A mix of all commands: an order is created with half of an invoice's lines, the other lines are
//! added one by one, some quantities are corrected, and the order is completed or cancelled.

use std::rc::Rc;

use uuid::Uuid;

use super::{Random, command, commands::create, line_id, order_id};
use crate::{load::Script, retail::Line};

/// After this number of added lines a quantity is corrected.
const CORRECTION: usize = 8;
/// One in this number of orders is cancelled.
const CANCELLATION: u64 = 20;

/// An order that is not completed yet.
#[derive(Debug, Clone)]
struct OpenOrder {
    number: u64,
    id: Uuid,
    lines: std::ops::Range<usize>,
    /// How many of its lines were sent.
    sent: usize,
    is_correction_due: bool,
}

/// Each connection creates, changes and completes one order after the other.
pub struct Mix {
    lines: Rc<[Line]>,
    next_line: usize,
    /// The number of the next order.
    pub next: u64,
    open_orders: Vec<Option<OpenOrder>>,
}

impl Mix {
    /// The first order has the number `first`.
    pub fn new(lines: Rc<[Line]>, first: u64, connections: usize) -> Self {
        let mut mix = Self {
            next_line: Random::new().below(lines.len()),
            lines,
            next: first,
            open_orders: vec![None; connections],
        };
        // The random start may lie inside an invoice: skip the rest of it.
        mix.invoice();
        mix
    }

    /// The lines of the next invoice.
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

    fn json(&self, order: &OpenOrder, line: usize) -> String {
        let body = self.lines[order.lines.start + line].json();
        let id = line_id(order.id, line);
        format!(r#"{{"itemId":"{id}",{}"#, body.trim_start_matches('{'))
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> OpenOrder {
        let number = self.next;
        self.next += 1;
        let lines = self.invoice();
        let order = OpenOrder {
            number,
            id: order_id(number),
            sent: lines.len().div_ceil(2),
            lines,
            is_correction_due: false,
        };
        let begin = order.lines.start;
        let first = &self.lines[begin..begin + order.sent];
        create(out, order.id, first, |line| self.json(&order, line));
        order
    }

    /// Writes the next command of an order; `false` if it is the last one.
    fn write_next(&self, order: &mut OpenOrder, out: &mut Vec<u8>) -> bool {
        let id = order.id;
        if order.is_correction_due {
            order.is_correction_due = false;
            let line = line_id(id, order.sent - 1);
            let sent = &self.lines[order.lines.start + order.sent - 1];
            let body = format!(r#"{{"quantity":{}}}"#, sent.quantity % 9999 + 1);
            let path = format_args!("/v1/orders/{id}/items/{line}");
            command(out, "PATCH", path, None, &body);
            return true;
        }
        if order.sent < order.lines.len() {
            let body = self.json(order, order.sent);
            order.sent += 1;
            order.is_correction_due = order.sent.is_multiple_of(CORRECTION);
            let path = format_args!("/v1/orders/{id}/items");
            command(out, "POST", path, None, &body);
            return true;
        }
        if order.number.is_multiple_of(CANCELLATION) {
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
        self.open_orders[connection] = match self.open_orders[connection].take() {
            None => Some(self.begin(out)),
            Some(mut order) => self.write_next(&mut order, out).then_some(order),
        };
        true
    }
}
