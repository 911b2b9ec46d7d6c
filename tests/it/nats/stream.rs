//! Creating the stream and correcting its configuration.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};
use orders::nats::{NatsOptions, StreamError, connect, is_connected, owner::StreamOwner};
use uuid::Uuid;

use super::support::{NatsServer, eventually};

/// The store that owns the streams.
const STORE: Uuid = Uuid::from_u128(1);

#[tokio::test]
async fn a_stream_with_limits_and_other_subjects_is_corrected() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    eventually("connected", async || {
        is_connected(&stream.context().client())
    })
    .await;
    let wrong = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["other.>".to_owned()],
        max_messages: 10,
        max_age: Duration::from_hours(1),
        description: Some("an operator's text".to_owned()),
        ..Config::default()
    };
    stream.context().create_stream(wrong).await.unwrap();

    stream.ensure_configuration(STORE).await.unwrap();
    stream.ensure_configuration(STORE).await.unwrap();

    let now = stream.context().get_stream("EVENTS").await.unwrap();
    let now = &now.cached_info().config;
    assert_eq!(now.subjects, ["events.>"]);
    assert_eq!(now.max_messages, -1);
    assert_eq!(now.max_age, Duration::ZERO);
    assert_eq!(now.description.as_deref(), Some("an operator's text"));
}

#[tokio::test]
async fn a_stream_in_memory_is_refused_with_the_reason() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    eventually("connected", async || {
        is_connected(&stream.context().client())
    })
    .await;
    let wrong = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        storage: StorageType::Memory,
        ..Config::default()
    };
    stream.context().create_stream(wrong).await.unwrap();

    let refused = stream.ensure_configuration(STORE).await.unwrap_err();

    assert!(matches!(refused, StreamError::Unchangeable { .. }));
    assert!(refused.to_string().contains("Memory"), "{refused}");
}

#[tokio::test]
async fn subjects_of_another_stream_are_refused_with_the_reason() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    eventually("connected", async || {
        is_connected(&stream.context().client())
    })
    .await;
    let other = Config {
        name: "OTHER".to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..Config::default()
    };
    stream.context().create_stream(other).await.unwrap();

    let refused = stream
        .create(StreamOwner {
            store: STORE,
            incarnation: 1,
        })
        .await;

    assert!(
        matches!(refused, Err(StreamError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn connecting_does_not_wait_for_a_server() {
    let options = NatsOptions::new("nats://127.0.0.1:1");

    let client = tokio::time::timeout(Duration::from_secs(1), connect(&options)).await;

    assert!(!is_connected(&client.unwrap().unwrap()));
}
