//! The owner of a stream: which event store fills it. It is written into the stream's description.
//!
//! NATS has stream metadata since 2.10, but 2.9 drops it silently. The description works with every
//! version and is shown by `nats stream info`. An operator's own text stays in front of the owner.

use async_nats::jetstream::stream::Config;
use uuid::Uuid;

/// The text of a description that no operator has changed.
const DEFAULT_TEXT: &str = "every event of the service, in commit order";

/// Who fills a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOwner {
    /// The id of the event store.
    pub store: Uuid,
    /// Counts how many times that store's stream was created, from 1. A newer stream has a greater
    /// number.
    pub incarnation: i64,
}

impl StreamOwner {
    /// Reads the owner from a stream's description, if it names one.
    #[must_use]
    pub fn read(config: &Config) -> Option<Self> {
        let (_, owner) = split(config.description.as_deref()?);
        owner
    }

    /// The description with this owner in place of the one that it names.
    #[must_use]
    pub fn write(self, description: Option<&str>) -> String {
        let (text, _) = split(description.unwrap_or(DEFAULT_TEXT));
        let Self { store, incarnation } = self;
        format!("{text} [store {store}, incarnation {incarnation}]")
            .trim_start()
            .to_owned()
    }
}

/// Splits a description into the operator's text and the owner.
fn split(description: &str) -> (&str, Option<StreamOwner>) {
    let parts = description.rsplit_once("[store ").and_then(|(text, rest)| {
        let (store, incarnation) = rest.strip_suffix(']')?.split_once(", incarnation ")?;
        let owner = StreamOwner {
            store: store.parse().ok()?,
            incarnation: incarnation.parse().ok()?,
        };
        Some((text.trim_end(), Some(owner)))
    });
    parts.unwrap_or((description, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(description: &str) -> Config {
        Config {
            description: Some(description.to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn an_owner_is_written_behind_the_text_and_read_back() {
        let owner = StreamOwner {
            store: Uuid::from_u128(7),
            incarnation: 3,
        };

        for text in [None, Some("ours [do not touch]"), Some("")] {
            let described_by = owner.write(text);

            assert!(
                described_by.starts_with(text.unwrap_or(DEFAULT_TEXT)),
                "{described_by}"
            );
            assert_eq!(StreamOwner::read(&config(&described_by)), Some(owner));
        }
    }

    #[test]
    fn a_new_owner_replaces_the_old_one() {
        let owner = |incarnation| StreamOwner {
            store: Uuid::from_u128(7),
            incarnation,
        };
        let old = owner(1).write(Some("ours"));

        let new = owner(2).write(Some(&old));

        assert_eq!(new.matches("incarnation").count(), 1);
        assert_eq!(StreamOwner::read(&config(&new)), Some(owner(2)));
    }

    #[test]
    fn a_text_that_only_resembles_an_owner_names_none() {
        for description in ["", "[store x, incarnation 1]", "[store ", "ours"] {
            assert_eq!(
                StreamOwner::read(&config(description)),
                None,
                "{description}"
            );
        }
    }
}
