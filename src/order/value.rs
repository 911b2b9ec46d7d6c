//! Values that are valid by construction, and the limits of orders.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The largest number of lines of an order.
pub const MAX_LINES: usize = 2000;

/// The largest total of an order, in minor units: 2⁵³ − 1, which every JSON reader keeps exactly.
pub const MAX_TOTAL: i64 = 9_007_199_254_740_991;

/// The largest number of significant digits in an amount that a client writes.
pub const MAX_SIGNIFICANT_DIGITS: usize = 15;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn get(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// The id of an order.
    OrderId
}
id! {
    /// The id of a line of an order.
    ItemId
}

/// A number is outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be between {min} and {max}")]
pub struct OutOfRange {
    /// The smallest allowed number.
    pub min: u32,
    /// The largest allowed number.
    pub max: u32,
}

/// The number of pieces of a line: 1 to 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Quantity(u32);

impl Quantity {
    /// The largest quantity of one line.
    pub const MAX: u32 = 10_000;

    /// Checks a number of pieces.
    ///
    /// # Errors
    /// [`OutOfRange`] if it is not 1 to 10000.
    pub fn new(quantity: u32) -> Result<Self, OutOfRange> {
        if (1..=Self::MAX).contains(&quantity) {
            Ok(Self(quantity))
        } else {
            Err(OutOfRange {
                min: 1,
                max: Self::MAX,
            })
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Quantity {
    type Error = OutOfRange;

    fn try_from(quantity: u32) -> Result<Self, OutOfRange> {
        Self::new(quantity)
    }
}

impl From<Quantity> for u32 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text has too many characters.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The largest number of characters.
        max: usize,
    },
    /// The text has a control character.
    #[error("must not contain control characters")]
    ControlCharacter,
}

fn check(text: &str, min: usize, max: usize) -> Result<(), InvalidText> {
    if text.len() < min {
        return Err(InvalidText::Empty);
    }
    if text.len() > max && text.chars().count() > max {
        return Err(InvalidText::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    Ok(())
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $min:literal ..= $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The largest number of characters.
            pub const MAX: usize = $max;

            /// Checks a text.
            ///
            /// # Errors
            /// [`InvalidText`] if it is too short or too long, or has a control character.
            pub fn parse(text: &str) -> Result<Self, InvalidText> {
                check(text, $min, $max)?;
                Ok(Self(text.into()))
            }

            /// Wraps a stored text without a check: stored events stay readable when the limits change.
            #[must_use]
            pub fn stored(text: &str) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// The id of a customer: any text of 1 to 128 characters.
    CustomerId, 1..=128
}
text! {
    /// The id of a product: any text of 1 to 128 characters.
    ProductId, 1..=128
}
text! {
    /// Why an order is cancelled: a text of at most 500 characters.
    Reason, 0..=500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(CustomerId::parse(&"é".repeat(128)).is_ok());
        assert_eq!(
            CustomerId::parse(&"é".repeat(129)),
            Err(InvalidText::TooLong { max: 128 })
        );
        assert_eq!(CustomerId::parse(""), Err(InvalidText::Empty));
        assert_eq!(
            CustomerId::parse("a\u{0}"),
            Err(InvalidText::ControlCharacter)
        );
    }

    #[test]
    fn a_quantity_is_between_one_and_ten_thousand() {
        assert!(Quantity::new(0).is_err());
        assert!(Quantity::new(1).is_ok());
        assert!(Quantity::new(10_000).is_ok());
        assert!(Quantity::new(10_001).is_err());
    }
}
