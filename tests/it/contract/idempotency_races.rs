//! Idempotency keys of concurrent commands, and keys that expire.

use std::time::Duration;

use futures::future::join_all;
use orders::postgres::idempotency;
use serde_json::{Value, json};

use super::{
    assert_problem,
    idempotency::{KEY, assert_replays},
    line, place_one,
};
use crate::support::{TestApp, eventually};

#[tokio::test]
async fn of_many_concurrent_commands_with_one_key_exactly_one_is_applied() {
    let app = TestApp::start().await;
    let second = app.second().await;
    let (path, _) = place_one(&app).await;
    let (items, body) = (format!("{path}/items"), line("q", 1, "1"));

    let answers = join_all((0..24).map(|number| {
        let service = if number % 2 == 0 { &app } else { &second };
        service.post_with(&items, &body, &[(KEY, "k")])
    }))
    .await;

    let applied: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201 && answer.header("idempotent-replayed").is_empty())
        .collect();
    assert_eq!(applied.len(), 1);
    for answer in &answers {
        match answer.status {
            201 => assert_eq!(answer.text, applied[0].text),
            _ => drop(assert_problem(answer, 409, "idempotency_in_progress")),
        }
    }
    assert_eq!(
        app.get(&format!("{path}?minVersion=2")).await.json()["version"],
        2
    );
    second.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn concurrent_creations_with_one_key_create_one_order() {
    let app = TestApp::start().await;
    let body = json!({"customerId": "once"});

    let answers =
        join_all((0..16).map(|_| app.post_with("/v1/orders", &body, &[(KEY, "k")]))).await;

    let placed: Vec<Value> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.json()["id"].clone())
        .collect();
    assert!(!placed.is_empty() && placed.iter().all(|id| *id == placed[0]));
    app.wait_until_caught_up().await;
    let listed = app
        .get("/v1/orders?customerId=once&includeTotal=true")
        .await;
    assert_eq!(listed.json()["totalCount"], 1);
    app.stop().await;
}

#[tokio::test]
async fn a_key_expires_after_its_lifetime() {
    let app = TestApp::start_with(|config| config.writer.key_ttl = Duration::from_secs(1)).await;
    let body = json!({"customerId": "c"});
    let first = app.post_with("/v1/orders", &body, &[(KEY, "k")]).await;

    let other = json!({"customerId": "d"});
    let later = eventually("the key has expired", || async {
        let answer = app.post_with("/v1/orders", &other, &[(KEY, "k")]).await;
        (answer.status == 201).then_some(answer)
    })
    .await;

    assert_eq!(later.header("idempotent-replayed"), "");
    assert_ne!(later.id(), first.id());
    app.stop().await;
}

#[tokio::test]
async fn expired_keys_are_deleted_in_small_batches() {
    let app = TestApp::start_with(|config| config.writer.key_ttl = Duration::from_hours(1)).await;
    let body = json!({"customerId": "c"});
    let kept = app.post_with("/v1/orders", &body, &[(KEY, "kept")]).await;
    sqlx::query(
        "insert into idempotency_keys (scope, key, fingerprint, command_id, version, changed,
                                       position, created_at)
         select 'old', n::text, fingerprint, gen_random_uuid(), version, changed, position,
                now() - interval '2 hours'
         from idempotency_keys, generate_series(1, 1203) n",
    )
    .execute(&app.database)
    .await
    .expect("keys are inserted");

    let mut deleted = vec![];
    while deleted.last() != Some(&0) {
        let batch = idempotency::clear_expired(&app.database, Duration::from_hours(1)).await;
        deleted.push(batch.expect("PostgreSQL answers"));
    }

    assert_eq!(deleted, [500, 500, 203, 0]);
    assert_replays(
        &app.post_with("/v1/orders", &body, &[(KEY, "kept")]).await,
        &kept,
    );
    app.stop().await;
}

#[tokio::test]
async fn a_key_whose_command_is_still_running_is_in_progress() {
    let app = TestApp::start().await;
    let blocker = app.block_appends().await;
    let body = json!({"customerId": "c"});
    let key = [(KEY, "k")];

    let first = app.post_with("/v1/orders", &body, &key);
    let meanwhile = async {
        app.wait_for_a_blocked_append().await;
        let same = app.post_with("/v1/orders", &body, &key).await;
        let other = app
            .post_with("/v1/orders", &json!({"customerId": "d"}), &key)
            .await;
        blocker.rollback().await.expect("appends continue");
        [same, other]
    };
    let (first, meanwhile) = futures::join!(first, meanwhile);

    for answer in &meanwhile {
        assert_problem(answer, 409, "idempotency_in_progress");
    }
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replays(&app.post_with("/v1/orders", &body, &key).await, &first);
    app.stop().await;
}
