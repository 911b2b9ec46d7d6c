//! Scripts that send one kind of command.

use std::{ops::Range, rc::Rc};

use uuid::Uuid;

use super::{OrderShares, Random, command, line_id, order_id};
use crate::{load::Script, retail::Line};

/// How many lines a new order has.
const LINES: usize = 5;

/// Adds real lines to orders, to one order after the other.
pub struct AddItem {
    orders: Range<u64>,
    bodies: Rc<[String]>,
    rounds: OrderShares,
    random: Random,
    next: usize,
    is_keyed: bool,
}

impl AddItem {
    /// Adds lines to these orders. With `is_keyed` each command has its own idempotency key.
    pub fn new(
        orders: Range<u64>,
        bodies: Rc<[String]>,
        connections: usize,
        is_keyed: bool,
    ) -> Self {
        let mut random = Random::new();
        Self {
            rounds: OrderShares::new((orders.end - orders.start) as usize, connections),
            orders,
            next: random.below(bodies.len()),
            bodies,
            random,
            is_keyed,
        }
    }
}

impl Script for AddItem {
    fn request(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let id = order_id(self.orders.start + self.rounds.next(connection) as u64);
        self.next = (self.next + 1) % self.bodies.len();
        let key = self.is_keyed.then(|| self.random.key());
        let path = format_args!("/v1/orders/{id}/items");
        command(out, "POST", path, key, &self.bodies[self.next]);
        true
    }
}

/// Creates orders of five real lines.
pub struct Create {
    lines: Rc<[Line]>,
    next_line: usize,
    /// The number of the next order.
    pub next: u64,
    end: u64,
}

impl Create {
    /// Creates the orders with these numbers.
    pub fn new(lines: Rc<[Line]>, orders: Range<u64>) -> Self {
        Self {
            next_line: Random::new().below(lines.len()),
            lines,
            next: orders.start,
            end: orders.end,
        }
    }
}

impl Script for Create {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        if self.next == self.end {
            return false;
        }
        let id = order_id(self.next);
        self.next += 1;
        if self.next_line + LINES > self.lines.len() {
            self.next_line = 0;
        }
        let lines = &self.lines[self.next_line..self.next_line + LINES];
        self.next_line += LINES;
        create(out, id, lines, |line| lines[line].json());
        true
    }
}

/// Writes the command that creates an order with these lines.
pub(super) fn create(out: &mut Vec<u8>, id: Uuid, lines: &[Line], json: impl Fn(usize) -> String) {
    let customer = lines.first().map_or("guest", |line| &line.customer);
    let items: Vec<String> = (0..lines.len()).map(json).collect();
    let items = items.join(",");
    let body =
        format!(r#"{{"id":"{id}","customerId":"{customer}","currency":"GBP","items":[{items}]}}"#);
    command(out, "POST", format_args!("/v1/orders"), None, &body);
}

/// Changes the quantity of one line of one order, from all connections at once.
pub struct HotOrder {
    order: u64,
    is_created: bool,
    quantity: usize,
}

impl HotOrder {
    /// Creates the order with this number.
    pub fn new(order: u64) -> Self {
        Self {
            order,
            is_created: false,
            quantity: 0,
        }
    }

    /// Continues by changing the created order.
    pub fn created(mut self) -> Self {
        self.is_created = true;
        self
    }
}

impl Script for HotOrder {
    fn request(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        let id = order_id(self.order);
        let line = line_id(id, 0);
        if !self.is_created {
            if self.quantity > 0 {
                return false;
            }
            self.quantity = 1;
            let body = format!(
                r#"{{"id":"{id}","customerId":"hot","items":[{{"itemId":"{line}","productId":"hot","quantity":10000,"price":"1.00"}}]}}"#
            );
            command(out, "POST", format_args!("/v1/orders"), None, &body);
            return true;
        }
        self.quantity = self.quantity % 9999 + 1;
        let body = format!(r#"{{"quantity":{}}}"#, self.quantity);
        let path = format_args!("/v1/orders/{id}/items/{line}");
        command(out, "PATCH", path, None, &body);
        true
    }
}
