//! The pure part of verification: checks one order's events, folds them, and compares the result with
//! the order's rows.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    mem,
};

use super::{
    super::{
        chunk::DecodedEvent,
        fold::OrderFold,
        rows::{ItemRow, OrderRow, ParkedOrder},
    },
    finding::Finding,
};
use crate::{
    event_sourcing::{Aggregate, Position, RecordedEvent, UpcasterChain, Version},
    order::{ItemId, Order, OrderEvent, OrderId},
};

/// One order while it is verified: the fold of its events, and its rows.
#[derive(Debug)]
pub(super) struct OrderComparison {
    order_id: OrderId,
    fold: OrderFold,
    domain: Order,
    parked: Option<ParkedOrder>,
    last_version: Version,
    last_position: Position,
    used_items: HashSet<ItemId>,
    stored_order: Option<OrderRow>,
    stored_items: BTreeMap<ItemId, ItemRow>,
    stored_parked: Option<ParkedOrder>,
    findings: Vec<Finding>,
}

impl OrderComparison {
    pub(super) fn new(order_id: OrderId) -> Self {
        Self {
            order_id,
            fold: OrderFold::absent(order_id),
            domain: Order::default(),
            parked: None,
            last_version: Version::ZERO,
            last_position: Position::ZERO,
            used_items: HashSet::new(),
            stored_order: None,
            stored_items: BTreeMap::new(),
            stored_parked: None,
            findings: Vec::new(),
        }
    }

    /// Checks the next event of the stream, and folds it unless an event before could not be applied.
    pub(super) fn add_event(&mut self, event: RecordedEvent, upcasters: &UpcasterChain) {
        let version = event.version;
        self.check_order(version, event.position);
        let decoded = DecodedEvent::new(event, upcasters);
        if self.parked.is_some() {
            if let Err(reason) = decoded.event() {
                self.problem(version, reason.to_owned());
            }
            return;
        }
        if let Err(parked) = decoded.apply_to(&mut self.fold) {
            self.problem(version, parked.reason.clone());
            self.parked = Some(parked);
            return;
        }
        if let Ok(event) = decoded.event() {
            self.check_item_ids(version, event);
            self.domain.evolve(event, decoded.at());
        }
    }

    /// Adds the order's stored row.
    pub(super) fn add_stored_order(&mut self, row: OrderRow) {
        self.stored_order = Some(row);
    }

    /// Adds a stored line.
    pub(super) fn add_stored_item(&mut self, row: ItemRow) {
        self.stored_items.insert(row.item_id, row);
    }

    /// Adds the stored row that says that the order is parked.
    pub(super) fn add_stored_parked(&mut self, row: ParkedOrder) {
        self.stored_parked = Some(row);
    }

    /// Compares the fold with the rows and returns everything that is wrong.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.compare_domain();
        self.compare_order();
        self.compare_items();
        self.compare_parked();
        self.findings
    }

    /// Versions have no hole, and positions rise.
    fn check_order(&mut self, version: Version, position: Position) {
        let expected = self.last_version.plus(1);
        if version != expected {
            self.problem(version, format!("version {expected} is expected here"));
        }
        let last = self.last_position;
        if position <= last {
            let problem = format!("position {position} is not after {last}");
            self.problem(version, problem);
        }
        self.last_version = version;
        self.last_position = position;
    }

    /// The id of a line is used once, also after the line was removed.
    fn check_item_ids(&mut self, version: Version, event: &OrderEvent) {
        match event {
            OrderEvent::Created { items, .. } => {
                let ids = items.iter().map(|item| item.item_id);
                self.used_items.extend(ids);
            }
            OrderEvent::ItemAdded { item, .. } => {
                if !self.used_items.insert(item.item_id) {
                    let problem = format!("line {} was used before", item.item_id);
                    self.problem(version, problem);
                }
            }
            OrderEvent::ItemQuantityChanged { .. }
            | OrderEvent::ItemRemoved { .. }
            | OrderEvent::Completed
            | OrderEvent::Cancelled { .. } => {}
        }
    }

    /// The domain and the read model fold the events with separate code. Both must agree.
    fn compare_domain(&mut self) {
        let (Some(state), Some(row)) = (self.domain.state(), self.fold.row()) else {
            return;
        };
        let domain = (
            state.status.as_str(),
            state.total.minor(),
            Some(state.lines.len()),
            Some(state.total_quantity),
        );
        let read_model = (
            row.status.as_str(),
            row.total_minor,
            usize::try_from(row.item_count).ok(),
            u64::try_from(row.total_quantity).ok(),
        );
        if domain != read_model {
            let problem =
                format!("the domain folds to {domain:?}, the read model to {read_model:?}");
            self.problem(self.last_version, problem);
        }
    }

    fn compare_order(&mut self) {
        let expected = self.fold.row().cloned();
        let found = self.stored_order.take();
        match (expected, found) {
            (Some(expected), Some(found)) if expected != found => {
                self.compare_columns("", order_columns(&expected), order_columns(&found));
            }
            (None, None) | (Some(_), Some(_)) => {}
            (expected, found) => {
                let text = |row: OrderRow| format!("an order at version {}", row.version);
                self.difference("order".to_owned(), expected.map(text), found.map(text));
            }
        }
    }

    fn compare_items(&mut self) {
        let expected: BTreeMap<ItemId, ItemRow> = (self.fold.items().into_iter())
            .map(|item| (item.item_id, item.clone()))
            .collect();
        let found = mem::take(&mut self.stored_items);
        let ids: BTreeSet<ItemId> = expected.keys().chain(found.keys()).copied().collect();
        for id in ids {
            match (expected.get(&id), found.get(&id)) {
                (Some(expected), Some(found)) if expected == found => {}
                (Some(expected), Some(found)) => self.compare_columns(
                    &format!("item {id} "),
                    item_columns(expected),
                    item_columns(found),
                ),
                (expected, found) => {
                    let text = |row: &ItemRow| format!("{} of {}", row.quantity, row.product_id);
                    self.difference(format!("item {id}"), expected.map(text), found.map(text));
                }
            }
        }
    }

    fn compare_parked(&mut self) {
        let (expected, found) = (self.parked.take(), self.stored_parked.take());
        let version = |row: &Option<ParkedOrder>| row.as_ref().map(|row| row.version);
        if version(&expected) != version(&found) {
            let text = |row: ParkedOrder| format!("at version {}: {}", row.version, row.reason);
            self.difference("parked".to_owned(), expected.map(text), found.map(text));
        }
    }

    fn compare_columns<const N: usize>(
        &mut self,
        prefix: &str,
        expected: [(&str, String); N],
        found: [(&str, String); N],
    ) {
        for ((column, expected), (_, found)) in expected.into_iter().zip(found) {
            if expected != found {
                self.difference(format!("{prefix}{column}"), Some(expected), Some(found));
            }
        }
    }

    fn problem(&mut self, version: Version, problem: String) {
        self.findings.push(Finding::Store {
            order_id: self.order_id,
            version: version.get(),
            problem,
        });
    }

    /// Notes a difference. An absent value is shown as `nothing`.
    fn difference(&mut self, field: String, expected: Option<String>, found: Option<String>) {
        let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        self.findings.push(Finding::ReadModel {
            order_id: self.order_id,
            field,
            expected: text(expected),
            found: text(found),
        });
    }
}

/// The columns of an order's row, by name. Without `..`, so that the compiler asks for a new column.
fn order_columns(row: &OrderRow) -> [(&'static str, String); 13] {
    let OrderRow {
        id: _,
        customer_id,
        status,
        currency,
        total_minor,
        item_count,
        total_quantity,
        version,
        position,
        created_at,
        updated_at,
        completed_at,
        cancelled_at,
        cancellation_reason,
    } = row;
    [
        ("customer_id", format!("{customer_id:?}")),
        ("status", format!("{status:?}")),
        ("currency", format!("{currency:?}")),
        ("total_minor", total_minor.to_string()),
        ("item_count", item_count.to_string()),
        ("total_quantity", total_quantity.to_string()),
        ("version", version.to_string()),
        ("position", position.to_string()),
        ("created_at", format!("{created_at:?}")),
        ("updated_at", format!("{updated_at:?}")),
        ("completed_at", format!("{completed_at:?}")),
        ("cancelled_at", format!("{cancelled_at:?}")),
        ("cancellation_reason", format!("{cancellation_reason:?}")),
    ]
}

/// The columns of a line's row, by name.
fn item_columns(row: &ItemRow) -> [(&'static str, String); 5] {
    let ItemRow {
        order_id: _,
        item_id: _,
        line_no,
        product_id,
        quantity,
        price_minor,
        added_at,
    } = row;
    [
        ("line_no", line_no.to_string()),
        ("product_id", format!("{product_id:?}")),
        ("quantity", quantity.to_string()),
        ("price_minor", price_minor.to_string()),
        ("added_at", format!("{added_at:?}")),
    ]
}
