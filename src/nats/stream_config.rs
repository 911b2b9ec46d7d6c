//! The configuration that the stream should have, and how the present one differs from it.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};

use super::{options::NatsOptions, owner::StreamOwner};

/// How long NATS remembers message ids. No id is used twice, so a short time is enough and saves
/// memory.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);

/// The configuration of a new stream: it keeps every message on disk, without limits.
#[must_use]
pub fn initial(options: &NatsOptions, owner: StreamOwner) -> Config {
    corrected(
        options,
        Config {
            name: options.stream.clone(),
            description: Some(owner.write(None)),
            max_consumers: -1,
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            ..Config::default()
        },
    )
}

/// `config` with the required settings. Settings that an operator may choose stay as they are.
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

/// What `config` must change, as texts for the log.
#[must_use]
pub fn differences(options: &NatsOptions, config: &Config) -> Vec<String> {
    let subjects = options.subjects();
    let replicas = options.replicas;
    let is_limit = |limit: i64| limit > 0;
    [
        (
            config.subjects != [subjects.as_str()],
            format!("change subjects from {:?} to {subjects}", config.subjects),
        ),
        (
            config.num_replicas != replicas,
            format!("change replicas from {} to {replicas}", config.num_replicas),
        ),
        (
            is_limit(config.max_messages)
                || is_limit(config.max_messages_per_subject)
                || is_limit(config.max_bytes)
                || is_limit(config.max_message_size.into())
                || !config.max_age.is_zero(),
            "remove the limits".to_owned(),
        ),
        (
            config.duplicate_window != DUPLICATE_WINDOW,
            "change the duplicate window to one second".to_owned(),
        ),
        (config.no_ack, "acknowledge messages".to_owned()),
        (
            config.subject_transform.is_some(),
            "remove the subject transform".to_owned(),
        ),
    ]
    .into_iter()
    .filter_map(|(differs, change)| differs.then_some(change))
    .collect()
}

/// The setting that makes the stream unusable and cannot be changed, as a text for the log.
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
