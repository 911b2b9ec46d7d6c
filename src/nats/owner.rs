//! Whose a stream is, and which of its lives this is: written into the stream's description.
//!
//! NATS has had metadata for that since 2.10; 2.9 drops it without a word. The description works the
//! same everywhere, and people see it in `nats stream info`. An operator's own words stay before it.

use async_nats::jetstream::stream::Config;
use uuid::Uuid;

/// What a description says where nobody has written another one.
const WORDS: &str = "every event of the service, in commit order";

/// Whose a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOwner {
    /// The event store that it is filled from.
    pub store: Uuid,
    /// How often that store's stream was made; a new life has a greater number.
    pub incarnation: i64,
}

impl StreamOwner {
    /// The stamp of a stream, where it has one.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let (_, stamp) = split(config.description.as_deref()?);
        stamp
    }

    /// The description with this stamp instead of the one that it has.
    #[must_use]
    pub fn on(self, description: Option<&str>) -> String {
        let (words, _) = split(description.unwrap_or(WORDS));
        let Self { store, incarnation } = self;
        format!("{words} [store {store}, incarnation {incarnation}]")
            .trim_start()
            .to_owned()
    }
}

fn split(description: &str) -> (&str, Option<StreamOwner>) {
    let stamped = description
        .rsplit_once("[store ")
        .and_then(|(words, rest)| {
            let (store, incarnation) = rest.strip_suffix(']')?.split_once(", incarnation ")?;
            let stamp = StreamOwner {
                store: store.parse().ok()?,
                incarnation: incarnation.parse().ok()?,
            };
            Some((words.trim_end(), Some(stamp)))
        });
    stamped.unwrap_or((description, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(description: &str) -> Config {
        Config {
            description: Some(description.to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn a_stamp_stands_behind_the_words_and_is_read_back() {
        let stamp = StreamOwner {
            store: Uuid::from_u128(7),
            incarnation: 3,
        };

        for words in [None, Some("ours [do not touch]"), Some("")] {
            let stamped = stamp.on(words);

            assert!(stamped.starts_with(words.unwrap_or(WORDS)), "{stamped}");
            assert_eq!(StreamOwner::of(&described(&stamped)), Some(stamp));
        }
    }

    #[test]
    fn a_new_stamp_takes_the_place_of_the_old_one() {
        let stamp = |incarnation| StreamOwner {
            store: Uuid::from_u128(7),
            incarnation,
        };
        let old = stamp(1).on(Some("ours"));

        let new = stamp(2).on(Some(&old));

        assert_eq!(new.matches("incarnation").count(), 1);
        assert_eq!(StreamOwner::of(&described(&new)), Some(stamp(2)));
    }

    #[test]
    fn what_only_looks_like_a_stamp_is_none() {
        for description in ["", "[store x, incarnation 1]", "[store ", "ours"] {
            assert_eq!(
                StreamOwner::of(&described(description)),
                None,
                "{description}"
            );
        }
    }
}
