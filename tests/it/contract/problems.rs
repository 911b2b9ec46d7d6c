//! Problem documents: what all of them have, and the problems that are hard to provoke.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use super::{UNKNOWN_ID, assert_problem, id, line, place, place_one, post_nothing};
use crate::support::{TestApp, eventually, servers::servers};

#[tokio::test]
async fn a_problem_names_its_request_and_its_path() {
    let app = TestApp::start().await;
    let path = format!("/v1/orders/{UNKNOWN_ID}");

    let named = app
        .get_with(
            &format!("{path}?version=1"),
            &[("x-request-id", "a.b_c-D9")],
        )
        .await;

    let problem = assert_problem(&named, 404, "order_not_found");
    assert_eq!(
        (&problem["instance"], &problem["requestId"]),
        (&json!(path), &json!("a.b_c-D9"))
    );
    assert_eq!(problem["type"], "/problems/order-not-found");
    assert_eq!(named.header("content-length"), named.text.len().to_string());
    for (code, given) in [
        ("kept", "x".repeat(128)),
        ("new", "x".repeat(129)),
        ("new", String::new()),
        ("new", "a b".to_owned()),
        ("new", "é".to_owned()),
        ("new", "a/b".to_owned()),
    ] {
        let shown = app
            .get_with("/health/live", &[("x-request-id", &given)])
            .await;
        let echoed = shown.header("x-request-id");
        match code {
            "kept" => assert_eq!(echoed, given),
            _ => assert_eq!(echoed.parse::<Uuid>().map(|id| id.get_version_num()), Ok(7)),
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_header_allow_names_the_methods_of_a_path() {
    let app = TestApp::start().await;
    let order = format!("/v1/orders/{UNKNOWN_ID}");
    let item = format!("{order}/items/{UNKNOWN_ID}");
    let methods = |text: &str| {
        let mut methods: Vec<_> = text
            .split(',')
            .map(|method| method.trim().to_owned())
            .collect();
        methods.sort();
        methods.join(",")
    };

    for (method, path, allowed) in [
        ("DELETE", "/v1/orders", "GET,HEAD,POST"),
        ("PUT", "/v1/orders", "GET,HEAD,POST"),
        ("PURGE", "/v1/orders", "GET,HEAD,POST"),
        ("TRACE", "/v1/orders", "GET,HEAD,POST"),
        ("PATCH", &order, "GET,HEAD"),
        ("POST", &order, "GET,HEAD"),
        ("GET", &format!("{order}/items"), "POST"),
        ("GET", &item, "DELETE,PATCH"),
        ("HEAD", &format!("{order}/complete"), "POST"),
        ("GET", &format!("{order}/cancel"), "POST"),
        ("POST", &format!("{order}/events"), "GET,HEAD"),
        ("POST", "/health/live", "GET,HEAD"),
        ("POST", "/health/ready", "GET,HEAD"),
        ("DELETE", "/metrics", "GET,HEAD"),
        ("POST", "/openapi.json", "GET,HEAD"),
    ] {
        let name = Method::from_bytes(method.as_bytes()).expect("a method");
        let refused = app.send(name, path, &[], None).await;
        assert_eq!(methods(refused.header("allow")), allowed, "{method} {path}");
        if method == "HEAD" {
            assert_eq!((refused.status, refused.text.as_str()), (405, ""));
        } else {
            assert_problem(&refused, 405, "method_not_allowed");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_too() {
    let app = TestApp::start().await;

    for path in [
        "/v1",
        "/v1/",
        "/v1/orders/",
        "/v1//orders",
        "/v2/orders",
        "/V1/orders",
        &format!("/v1/orders/{UNKNOWN_ID}/"),
        &format!("/v1/orders/{UNKNOWN_ID}/items/"),
        &format!("/v1/orders/{UNKNOWN_ID}/lines"),
        "/health",
        "/health/live/",
        "/metrics/",
        "/openapi.json/",
        "/docs/nothing.js",
        "/favicon.ico",
        "/%00",
        "/%ff",
    ] {
        let missing = app.get(path).await;
        let problem = assert_problem(&missing, 404, "route_not_found");
        assert_eq!(problem["instance"], path);
    }
    let posted = app.post("/v1/orders/", &json!({"customerId": "c"})).await;
    assert_problem(&posted, 404, "route_not_found");
    let html = app.get_with("/nowhere", &[("accept", "text/html")]).await;
    assert_problem(&html, 404, "route_not_found");
    app.stop().await;
}

#[tokio::test]
async fn races_that_are_lost_repeatedly_are_write_contention() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    // Every insert fails as if another command had taken the version.
    app.database
        .execute(
            "create function taken() returns trigger language plpgsql as $$ begin
                 raise 'taken' using errcode = 'unique_violation', constraint = 'events_pkey';
             end $$;
             create trigger taken before insert on events for each row execute function taken();",
        )
        .await
        .expect("a trigger");

    let refused = app.post(&format!("{path}/items"), &line("p", 1, "1")).await;
    let with = [("if-match", "\"1\"")];
    let expecting = app
        .post_with(&format!("{path}/items"), &line("p", 1, "1"), &with)
        .await;
    app.database
        .execute("drop trigger taken on events")
        .await
        .expect("no trigger");
    let again = app.post(&format!("{path}/items"), &line("p", 1, "1")).await;

    assert_problem(&refused, 409, "write_contention");
    assert!([409, 412].contains(&expecting.status), "{}", expecting.text);
    assert_eq!((again.status, again.header("etag")), (201, "\"2\""));
    app.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_a_500_that_shows_no_internals() {
    let mut app = TestApp::start().await;
    app.may_park();
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type,
             schema_version, data, metadata, created_at)
         values ($1, 'Order', $1, 1, 'OrderArchived', 1, '{\"secret\": 1}', '{}', now())",
    )
    .bind(id(1))
    .execute(&app.database)
    .await
    .expect("PostgreSQL answers");
    let path = format!("/v1/orders/{}", id(1));

    let answers = [
        app.get(&format!("{path}?version=1")).await,
        app.get(&format!("{path}/events")).await,
        post_nothing(&app, &format!("{path}/cancel"), &[]).await,
    ];

    for answer in answers {
        assert_problem(&answer, 500, "internal_error");
        for internal in ["Archived", "secret", "upcast", "sqlx", "events", "panic"] {
            let text = answer.text.replace("/events\"", "\"");
            assert!(!text.contains(internal), "{}", answer.text);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_may_have_been_applied() {
    let app =
        TestApp::start_with(|config| config.http.request_timeout = Duration::from_millis(400))
            .await;
    let blocker = app.block_appends().await;
    let (body, key) = (json!({"customerId": "c"}), [("idempotency-key", "k")]);

    let late = app.post_with("/v1/orders", &body, &key).await;
    let meanwhile = app.post_with("/v1/orders", &body, &key).await;
    blocker.rollback().await.expect("appends continue");
    let again = eventually("the command has ended", || async {
        let again = app.post_with("/v1/orders", &body, &key).await;
        (again.status == 201).then_some(again)
    })
    .await;

    assert_problem(&late, 503, "timeout");
    assert_problem(&meanwhile, 409, "idempotency_in_progress");
    assert_eq!(again.header("idempotent-replayed"), "true");
    app.wait_until_caught_up().await;
    let listed = app.get("/v1/orders?includeTotal=true").await;
    assert_eq!(listed.json()["totalCount"], 1);
    app.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_commands_without_applying_them() {
    let app = TestApp::start_with(|config| config.writer.queue = 1).await;
    let blocker = app.block_appends().await;
    let place = |number: usize| {
        let app = &app;
        let body = json!({"customerId": format!("c{number}")});
        async move { app.post("/v1/orders", &body).await }
    };

    let release = async {
        eventually("a refusal", || async {
            let answer = tokio::time::timeout(Duration::from_millis(200), place(99)).await;
            answer.ok().filter(|answer| answer.status == 503)
        })
        .await;
        blocker.rollback().await.expect("appends continue");
    };
    let (answers, ()) = futures::join!(join_all((0..8).map(place)), release);

    let (applied, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert!(!applied.is_empty() && !refused.is_empty());
    for answer in &refused {
        assert_problem(answer, 503, "overloaded");
    }
    app.wait_until_caught_up().await;
    for (number, answer) in answers.iter().enumerate() {
        let listed = app
            .get(&format!(
                "/v1/orders?customerId=c{number}&includeTotal=true"
            ))
            .await;
        assert_eq!(listed.json()["totalCount"], i32::from(answer.status == 201));
    }
    app.stop().await;
}

#[tokio::test]
async fn without_its_database_the_service_answers_503_and_recovers() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([line("p", 1, "1")])).await;
    app.wait_until_caught_up().await;
    let mut server = PgConnection::connect(&servers().database_url)
        .await
        .expect("PostgreSQL answers");
    let url = app.database_url.split('?').next().unwrap_or_default();
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let allow = |on: bool| AssertSqlSafe(format!("alter database {name} allow_connections {on}"));
    server
        .execute(allow(false))
        .await
        .expect("connections are refused");
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
        .bind(&name)
        .execute(&mut server)
        .await
        .expect("connections are closed");

    let read = app.get(&path).await;
    let listed = app.get("/v1/orders").await;
    let sent = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    let written = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    let ready = eventually("readiness says so", || async {
        let ready = app.get("/health/ready").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    let live = app.get("/health/live").await;
    server
        .execute(allow(true))
        .await
        .expect("connections are allowed");
    let back = eventually("the service has recovered", || async {
        let back = app.post("/v1/orders", &json!({"customerId": "c"})).await;
        (back.status == 201).then_some(back)
    })
    .await;

    // The connection of the first command broke, so its outcome is unknown.
    assert!(["timeout", "store_unavailable"].contains(&sent.code().as_str()));
    assert_problem(&sent, 503, &sent.code());
    for answer in [&read, &listed, &written] {
        assert_problem(answer, 503, "store_unavailable");
    }
    assert_eq!(
        (ready.status, ready.header("content-type")),
        (503, "application/json")
    );
    assert_eq!(ready.json()["status"], "unavailable");
    assert!(ready.header("retry-after").parse::<u32>().is_ok());
    assert_eq!(live.status, 200);
    assert_eq!(back.header("etag"), "\"1\"");
    app.stop().await;
}
