//! The pure part of verification: one order's events, folded and judged, beside its rows.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use super::{
    chunk::Decoded,
    fold::OrderFold,
    rows::{ItemRow, OrderRow, ParkedOrder},
};
use crate::{
    event_sourcing::{Aggregate, Position, RecordedEvent, UpcasterChain, Version},
    order::{ItemId, Order, OrderEvent, OrderId},
};

/// What is wrong where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An event is not what it should be.
    Store {
        /// Which order's.
        order_id: OrderId,
        /// Which event of it.
        version: i32,
        /// What is wrong with it.
        problem: String,
    },
    /// A row is not the fold of the events.
    ReadModel {
        /// Which order's.
        order_id: OrderId,
        /// `order` or `item <id>` where the row is missing or superfluous, else the column:
        /// `status`, `item <id> quantity`, `parked`.
        field: String,
        /// What the events say.
        expected: String,
        /// What the row says.
        found: String,
    },
}

impl Finding {
    /// Whether it is the read model that is wrong: folding the order anew heals that.
    #[must_use]
    pub fn is_in_read_model(&self) -> bool {
        match self {
            Self::Store { .. } => false,
            Self::ReadModel { .. } => true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store {
                order_id,
                version,
                problem,
            } => write!(f, "order {order_id}, event {version}: {problem}"),
            Self::ReadModel {
                order_id,
                field,
                expected,
                found,
            } => write!(
                f,
                "order {order_id}, {field}: expected {expected}, found {found}"
            ),
        }
    }
}

/// One order while it is verified.
#[derive(Debug)]
pub(super) struct Audit {
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

impl Audit {
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

    /// Judges the next event of the stream and folds it, as far as events can be folded.
    pub(super) fn event(&mut self, event: RecordedEvent, upcasters: &UpcasterChain) {
        let (version, position) = (event.version, event.position);
        let expected = self.last_version.plus(1);
        if version != expected {
            self.problem(
                version,
                format!("it stands where version {expected} belongs"),
            );
        }
        if position <= self.last_position {
            let last = self.last_position;
            self.problem(
                version,
                format!("position {position} does not follow {last}"),
            );
        }
        self.last_version = version;
        self.last_position = position;
        let decoded = Decoded::new(event, upcasters);
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
            self.reused_items(version, event);
            self.domain.evolve(event, decoded.at());
        }
    }

    pub(super) fn stored_order(&mut self, row: OrderRow) {
        self.stored_order = Some(row);
    }

    pub(super) fn stored_item(&mut self, row: ItemRow) {
        self.stored_items.insert(row.item_id, row);
    }

    pub(super) fn stored_parked(&mut self, row: ParkedOrder) {
        self.stored_parked = Some(row);
    }

    /// Compares the fold with the rows and answers all that is wrong.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        self.compare_domain();
        self.compare_order();
        self.compare_items();
        let parked = |row: &ParkedOrder| format!("at version {}: {}", row.version, row.reason);
        let expected = self.parked.as_ref().map(parked);
        let found = self.stored_parked.as_ref().map(parked);
        if self.parked.as_ref().map(|row| row.version)
            != self.stored_parked.as_ref().map(|row| row.version)
        {
            self.differs("parked", &Shown(expected), &Shown(found));
        }
        self.findings
    }

    /// An id of a line is used once, also after the line is gone.
    fn reused_items(&mut self, version: Version, event: &OrderEvent) {
        match event {
            OrderEvent::Created { items, .. } => {
                self.used_items
                    .extend(items.iter().map(|item| item.item_id));
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

    /// The write side's fold and this one are written apart from each other; they must agree.
    fn compare_domain(&mut self) {
        let (Some(state), Some(row)) = (self.domain.state(), self.fold.row()) else {
            return;
        };
        let domain = (
            state.status.as_str(),
            state.total.minor(),
            state.lines.len(),
            state.total_quantity,
        );
        let rows = (
            row.status.as_str(),
            row.total_minor,
            usize::try_from(row.item_count).unwrap_or_default(),
            u64::try_from(row.total_quantity).unwrap_or_default(),
        );
        if domain != rows {
            let problem = format!("the domain folds to {domain:?}, the read model to {rows:?}");
            self.problem(self.last_version, problem);
        }
    }

    fn compare_order(&mut self) {
        let expected = self.fold.row().cloned();
        let found = self.stored_order.take();
        match (expected, found) {
            (None, None) => {}
            (Some(expected), Some(found)) => self.compare_columns(&expected, &found),
            (expected, found) => {
                let shown = |row: Option<OrderRow>| {
                    Shown(row.map(|row| format!("an order at version {}", row.version)))
                };
                self.differs("order", &shown(expected), &shown(found));
            }
        }
    }

    fn compare_columns(&mut self, expected: &OrderRow, found: &OrderRow) {
        macro_rules! compare {
            ($($column:ident),*) => {
                $(if expected.$column != found.$column {
                    let field = stringify!($column);
                    self.differs(field, &Debugged(&expected.$column), &Debugged(&found.$column));
                })*
            };
        }
        compare!(
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
            cancellation_reason
        );
    }

    fn compare_items(&mut self) {
        let expected: BTreeMap<ItemId, ItemRow> = (self.fold.items().into_iter())
            .map(|item| (item.item_id, item.clone()))
            .collect();
        let found = std::mem::take(&mut self.stored_items);
        let ids: BTreeSet<ItemId> = expected.keys().chain(found.keys()).copied().collect();
        for id in ids {
            match (expected.get(&id), found.get(&id)) {
                (Some(expected), Some(found)) => self.compare_item(id, expected, found),
                (expected, found) => {
                    let shown = |row: Option<&ItemRow>| {
                        Shown(row.map(|row| format!("{} of {}", row.quantity, row.product_id)))
                    };
                    self.differs(&format!("item {id}"), &shown(expected), &shown(found));
                }
            }
        }
    }

    fn compare_item(&mut self, id: ItemId, expected: &ItemRow, found: &ItemRow) {
        macro_rules! compare {
            ($($column:ident),*) => {
                $(if expected.$column != found.$column {
                    let field = format!("item {id} {}", stringify!($column));
                    self.differs(&field, &Debugged(&expected.$column), &Debugged(&found.$column));
                })*
            };
        }
        compare!(line_no, product_id, quantity, price_minor, added_at);
    }

    fn problem(&mut self, version: Version, problem: String) {
        self.findings.push(Finding::Store {
            order_id: self.order_id,
            version: version.get(),
            problem,
        });
    }

    fn differs(&mut self, field: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display) {
        self.findings.push(Finding::ReadModel {
            order_id: self.order_id,
            field: field.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
}

/// A text, or `nothing`.
struct Shown(Option<String>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("nothing"))
    }
}

/// A column's value.
struct Debugged<'a, T>(&'a T);

impl<T: fmt::Debug> fmt::Display for Debugged<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
