//! The table of problems, row by row, and bodies that no honest client sends.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, header::HeaderValue};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use super::{
    NOBODY, assert_invalid, assert_problem, delete, id, line, place, place_one, post_nothing,
    post_text,
};
use crate::support::{TestApp, app::Answer, eventually, servers::servers};

const LONGEST_BODY: usize = 1 << 20;

/// Holds back every append until the transaction ends.
async fn block_appends(app: &TestApp) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut blocker = app.database.begin().await.expect("PostgreSQL answers");
    sqlx::query("select pg_advisory_xact_lock(7021839001)")
        .execute(&mut *blocker)
        .await
        .expect("appends wait");
    blocker
}

#[tokio::test]
async fn a_problem_names_its_request_and_its_path() {
    let app = TestApp::start().await;
    let path = format!("/v1/orders/{NOBODY}");

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
async fn bodies_that_are_not_json_are_malformed() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let broken: [&[u8]; 18] = [
        b"",
        b" ",
        b"{",
        b"}",
        b"{\"customerId\":}",
        b"{'customerId':'c'}",
        b"{\"customerId\":\"c\",}",
        b"{\"customerId\":\"c\"} x",
        b"{\"customerId\":\"c\"}{}",
        b"\xef\xbb\xbf{\"customerId\":\"c\"}",
        b"{\"customerId\":\"\xff\"}",
        b"{\"customerId\":\"a\nb\"}",
        b"{\"customerId\":\"\\x\"}",
        b"{\"customerId\":01}",
        b"{\"customerId\":NaN}",
        b"\0",
        b"{\"customerId\":\"c\"}\0",
        b"{\"customerId\":\"\xed\xa0\x80\"}",
    ];

    for body in broken {
        let refused = post_text(&app, "/v1/orders", body.to_vec()).await;
        assert_problem(&refused, 400, "malformed_json");
        let added = post_text(&app, &format!("{path}/items"), body.to_vec()).await;
        assert_problem(&added, 400, "malformed_json");
    }
    let nothing = post_nothing(&app, "/v1/orders", &[]).await;
    assert_problem(&nothing, 400, "malformed_json");
    let nothing = app.send(Method::PATCH, &item, &[], None).await;
    assert_problem(&nothing, 400, "malformed_json");
    assert_problem(
        &post_text(&app, &format!("{path}/cancel"), "{").await,
        400,
        "malformed_json",
    );
    app.stop().await;
}

#[tokio::test]
async fn hostile_json_is_refused_without_harm() {
    let app = TestApp::start().await;
    let depth = 100_000;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(depth), close.repeat(depth));

    let arrays = post_text(&app, "/v1/orders", nested("[", "]")).await;
    let unclosed = post_text(&app, "/v1/orders", "[".repeat(depth)).await;
    let inside = format!(r#"{{"customerId":"c","items":{}}}"#, nested("[", "]"));
    let inside = post_text(&app, "/v1/orders", inside).await;
    let objects = format!(
        r#"{{"customerId":"c","x":{}1{}}}"#,
        r#"{"a":"#.repeat(depth),
        "}".repeat(depth)
    );
    let objects = post_text(&app, "/v1/orders", objects).await;
    let half = post_text(&app, "/v1/orders", r#"{"customerId":"\ud800"}"#).await;
    let half_name = post_text(&app, "/v1/orders", r#"{"customerId":"c","\udc00":1}"#).await;
    let whole = post_text(&app, "/v1/orders", r#"{"customerId":"\ud83e\udd80"}"#).await;
    let nul = post_text(&app, "/v1/orders", r#"{"customerId":"a\u0000b"}"#).await;
    let nul_name = post_text(&app, "/v1/orders", r#"{"customerId":"c","\u0000":1}"#).await;
    let long = format!(
        r#"{{"customerId":"c","items":[{{"productId":"p","quantity":1,"price":{}}}]}}"#,
        "9".repeat(100_000)
    );
    let long = post_text(&app, "/v1/orders", long).await;
    let many: Vec<_> = (0..20_000)
        .map(|number| format!(r#""m{number}":1"#))
        .collect();
    let many = post_text(&app, "/v1/orders", format!("{{{}}}", many.join(","))).await;

    assert_problem(&arrays, 422, "validation_failed");
    assert_problem(&unclosed, 400, "malformed_json");
    assert_invalid(&inside, &[("#/items/0", "wrong_type")]);
    assert_invalid(&objects, &[("#/x", "unknown_member")]);
    assert_invalid(&half, &[("#/customerId", "invalid_characters")]);
    assert_problem(&half_name, 422, "validation_failed");
    assert_eq!(
        (whole.status, &whole.json()["customerId"]),
        (201, &json!("🦀"))
    );
    assert_invalid(&nul, &[("#/customerId", "invalid_characters")]);
    assert_invalid(&nul_name, &[("#/%00", "unknown_member")]);
    assert_invalid(&long, &[("#/items/0/price", "money_precision")]);
    assert_problem(&many, 422, "validation_failed");
    assert_eq!(app.get("/v1/orders").await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn a_body_has_at_most_one_mebibyte() {
    let app = TestApp::start().await;
    let padded = |size: usize| {
        let body = r#"{"customerId":"c"}"#;
        format!("{body}{}", " ".repeat(size - body.len()))
    };

    let longest = post_text(&app, "/v1/orders", padded(LONGEST_BODY)).await;
    let longer = post_text(&app, "/v1/orders", padded(LONGEST_BODY + 1)).await;
    let much_longer = post_text(&app, "/v1/orders", padded(3 * LONGEST_BODY)).await;
    let plain = app
        .send_raw(
            Method::POST,
            "/v1/orders",
            &[("content-type", "text/plain")],
            padded(LONGEST_BODY + 1),
        )
        .await;

    assert_eq!(longest.status, 201, "{}", longest.text);
    assert_problem(&longer, 413, "payload_too_large");
    assert_problem(&much_longer, 413, "payload_too_large");
    assert_problem(&plain, 413, "payload_too_large");
    app.stop().await;
}

#[tokio::test]
async fn a_body_says_that_it_is_json() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    let body = r#"{"customerId":"c"}"#;
    let send = async |headers: &[(&str, &str)]| {
        app.send_raw(Method::POST, "/v1/orders", headers, body)
            .await
    };

    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/json ;a=b",
    ] {
        assert_eq!(send(&[("content-type", good)]).await.status, 201, "{good}");
    }
    for bad in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application",
        "",
        "json",
        "*/*",
    ] {
        assert_problem(
            &send(&[("content-type", bad)]).await,
            415,
            "unsupported_media_type",
        );
    }
    assert_problem(&send(&[]).await, 415, "unsupported_media_type");
    let zipped = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    assert_problem(&send(&zipped).await, 415, "unsupported_media_type");
    let plain = [
        ("content-type", "application/json"),
        ("content-encoding", "identity"),
    ];
    assert_eq!(send(&plain).await.status, 201);
    let none = post_nothing(
        &app,
        &format!("{path}/complete"),
        &[("content-type", "text/plain")],
    )
    .await;
    assert_eq!(none.status, 200, "{}", none.text);
    app.stop().await;
}

#[tokio::test]
async fn an_answer_must_be_acceptable() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    app.wait_until_caught_up().await;

    for accept in [
        "text/html",
        "application/xml",
        "application/json;q=0",
        "text/*",
        "image/png, text/html;q=0.9",
    ] {
        let with = [("accept", accept)];
        assert_problem(&app.get_with(&path, &with).await, 406, "not_acceptable");
        assert_problem(
            &app.get_with("/v1/orders", &with).await,
            406,
            "not_acceptable",
        );
        assert_problem(&delete(&app, &item, &with).await, 406, "not_acceptable");
    }
    for accept in [
        "*/*",
        "application/json",
        "application/*",
        "text/html, */*;q=0.1",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json, application/problem+json",
        "",
    ] {
        assert_eq!(
            app.get_with(&path, &[("accept", accept)]).await.status,
            200,
            "{accept}"
        );
    }
    let shown = app
        .get_with(&path, &[("accept-encoding", "gzip, br, zstd")])
        .await;
    assert_eq!((shown.status, shown.header("content-encoding")), (200, ""));
    app.stop().await;
}

#[tokio::test]
async fn a_path_takes_the_methods_that_allow_names() {
    let app = TestApp::start().await;
    let order = format!("/v1/orders/{NOBODY}");
    let item = format!("{order}/items/{NOBODY}");
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
        "/",
        "/v1",
        "/v1/",
        "/v1/orders/",
        "/v1//orders",
        "/v2/orders",
        "/V1/orders",
        &format!("/v1/orders/{NOBODY}/"),
        &format!("/v1/orders/{NOBODY}/items/"),
        &format!("/v1/orders/{NOBODY}/lines"),
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
async fn races_lost_again_and_again_are_write_contention() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    // The referee finds each version taken.
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
async fn an_event_that_cannot_be_read_is_an_internal_error_without_internals() {
    let mut app = TestApp::start().await;
    app.may_park();
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type,
             schema_version, data, metadata, created_at)
         values ($1, 'Order', $1, 1, 'OrderTeleported', 1, '{\"secret\": 1}', '{}', now())",
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
        for internal in ["Teleported", "secret", "upcast", "sqlx", "events", "panic"] {
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
    let blocker = block_appends(&app).await;
    let (body, key) = (json!({"customerId": "c"}), [("idempotency-key", "k")]);

    let late = app.post_with("/v1/orders", &body, &key).await;
    let meanwhile = app.post_with("/v1/orders", &body, &key).await;
    blocker.rollback().await.expect("appends go on");
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
async fn a_full_queue_refuses_what_it_certainly_has_not_applied() {
    let app = TestApp::start_with(|config| config.writer.queue = 1).await;
    let blocker = block_appends(&app).await;
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
        blocker.rollback().await.expect("appends go on");
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
async fn without_its_store_the_service_says_so_and_comes_back() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([line("p", 1, "1")])).await;
    app.wait_until_caught_up().await;
    let mut server = PgConnection::connect(&servers().database_url)
        .await
        .expect("PostgreSQL answers");
    let url = app.database_url.split('?').next().unwrap_or_default();
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let allow = |on: bool| AssertSqlSafe(format!("alter database {name} allow_connections {on}"));
    server.execute(allow(false)).await.expect("nobody gets in");
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
        .bind(&name)
        .execute(&mut server)
        .await
        .expect("everybody is out");

    let read = app.get(&path).await;
    let listed = app.get("/v1/orders").await;
    let written = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    let ready = app.get("/health/ready").await;
    let live = app.get("/health/live").await;
    server.execute(allow(true)).await.expect("all get in again");
    let back = eventually("the service is back", || async {
        let back = app.post("/v1/orders", &json!({"customerId": "c"})).await;
        (back.status == 201).then_some(back)
    })
    .await;

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

#[tokio::test]
async fn bytes_in_headers_do_no_harm() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([])).await;
    app.wait_until_caught_up().await;
    let bytes = HeaderValue::from_bytes(b"\xff\xfe").expect("opaque bytes");

    for (name, status) in [
        ("accept", 406),
        ("if-none-match", 200),
        ("prefer", 200),
        ("x-request-id", 200),
        ("traceparent", 200),
        ("consistency-token", 400),
        ("origin", 200),
    ] {
        let request = app.request(Method::GET, &path).header(name, &bytes);
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        // What cannot be read in Accept may count as nothing at all.
        let is_expected = answer.status == status || (name == "accept" && answer.status == 200);
        assert!(is_expected, "{name}: {}", answer.text);
    }
    for name in ["if-match", "idempotency-key"] {
        let request = app
            .request(Method::POST, &format!("{path}/cancel"))
            .header(name, &bytes);
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        let problem: Value = assert_problem(&answer, 400, "invalid_header");
        assert_eq!(problem["errors"][0]["code"], "invalid");
    }
    app.stop().await;
}
