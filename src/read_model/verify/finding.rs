//! What a verification finds.

use std::fmt;

use crate::order::OrderId;

/// One fault in the store or in the read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An event is not valid.
    Store {
        /// The order's id.
        order_id: OrderId,
        /// The event's version.
        version: i32,
        /// What is wrong with it.
        problem: String,
    },
    /// A row is not the fold of the events.
    ReadModel {
        /// The order's id.
        order_id: OrderId,
        /// `order` or `item <id>` if the row is missing or superfluous; else the column: `status`,
        /// `item <id> quantity`, `parked`.
        field: String,
        /// The value that follows from the events.
        expected: String,
        /// The value of the row.
        found: String,
    },
}

impl Finding {
    /// Whether the read model is wrong. Folding the order again repairs that.
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
