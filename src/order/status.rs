//! The status of an order, and its stored names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The status of an order: `created` → `completed` or `cancelled`. Both are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Open: its lines may change.
    Created,
    /// Completed: final.
    Completed,
    /// Cancelled: final.
    Cancelled,
}

/// A text is not the name of a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown status {0:?}")]
pub struct UnknownStatus(pub String);

impl Status {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Created, Self::Completed, Self::Cancelled];

    /// The name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    /// Reads the stored name.
    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| UnknownStatus(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_status_is_read_by_its_name_only() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(json!(status), status.as_str());
            assert_eq!(from_value::<Status>(json!(status)).unwrap(), status);
        }
        for unknown in ["", "Created", "open", " created"] {
            let error = UnknownStatus(unknown.to_owned());
            assert_eq!(unknown.parse::<Status>(), Err(error));
        }
    }
}
