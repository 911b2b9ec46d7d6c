//! The stream as it should be, and what of that can be set right.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};

use super::{NatsOptions, owner::StreamOwner};

/// How long NATS remembers message ids. Nothing rests on it (an id is never used twice), and a short
/// memory is a small one.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);

/// The stream as it should be: everything, on disk, for ever.
#[must_use]
pub fn wanted(options: &NatsOptions, stamp: StreamOwner) -> Config {
    corrected(
        options,
        Config {
            name: options.stream.clone(),
            description: Some(stamp.on(None)),
            max_consumers: -1,
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            ..Config::default()
        },
    )
}

/// `config` with what matters set right; what an operator may choose stays.
#[must_use]
pub fn corrected(options: &NatsOptions, config: Config) -> Config {
    Config {
        subjects: vec![options.subjects()],
        subject_transform: None,
        num_replicas: options.replicas,
        no_ack: false,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_bytes: -1,
        max_message_size: -1,
        max_age: Duration::ZERO,
        duplicate_window: DUPLICATE_WINDOW,
        ..config
    }
}

/// What has to change in `config`, for people.
#[must_use]
pub fn differences(options: &NatsOptions, config: &Config) -> Vec<String> {
    let subjects = options.subjects();
    let replicas = options.replicas;
    let limited = |limit: i64| limit > 0;
    [
        (
            config.subjects != [subjects.as_str()],
            format!("subjects {:?} become {subjects}", config.subjects),
        ),
        (
            config.num_replicas != replicas,
            format!("replicas {} become {replicas}", config.num_replicas),
        ),
        (
            limited(config.max_messages)
                || limited(config.max_messages_per_subject)
                || limited(config.max_bytes)
                || limited(config.max_message_size.into())
                || !config.max_age.is_zero(),
            "limits go".to_owned(),
        ),
        (
            config.duplicate_window != DUPLICATE_WINDOW,
            "the duplicate window becomes one second".to_owned(),
        ),
        (config.no_ack, "messages are acknowledged".to_owned()),
        (
            config.subject_transform.is_some(),
            "the subject transform goes".to_owned(),
        ),
    ]
    .into_iter()
    .filter_map(|(differs, change)| differs.then_some(change))
    .collect()
}

/// What makes the stream useless for ever, for people.
#[must_use]
pub fn unchangeable(config: &Config) -> Option<String> {
    if config.storage != StorageType::File {
        Some(format!("its storage is {:?}, not File", config.storage))
    } else if config.retention != RetentionPolicy::Limits {
        Some(format!(
            "its retention is {:?}, not Limits",
            config.retention
        ))
    } else if config.sealed {
        Some("it is sealed".to_owned())
    } else if config.mirror.is_some() {
        Some("it is a mirror of another stream".to_owned())
    } else {
        None
    }
}
