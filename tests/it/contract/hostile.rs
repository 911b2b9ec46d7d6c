//! Malformed and hostile bodies and headers.

use reqwest::{Method, header::HeaderValue};
use serde_json::json;

use super::{assert_invalid, assert_problem, delete, place, place_one, post_nothing, post_text};
use crate::support::{TestApp, app::Answer};

/// The size of the largest accepted body, in bytes.
const LONGEST_BODY: usize = 1 << 20;

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
    let lone_surrogate = post_text(&app, "/v1/orders", r#"{"customerId":"\ud800"}"#).await;
    let lone_surrogate_name =
        post_text(&app, "/v1/orders", r#"{"customerId":"c","\udc00":1}"#).await;
    let surrogate_pair = post_text(&app, "/v1/orders", r#"{"customerId":"\ud83e\udd80"}"#).await;
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
    assert_invalid(&lone_surrogate, &[("#/customerId", "invalid_characters")]);
    assert_problem(&lone_surrogate_name, 422, "validation_failed");
    assert_eq!(
        (surrogate_pair.status, &surrogate_pair.json()["customerId"]),
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
async fn extreme_numbers_are_validated_by_their_value() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let digits = "9".repeat(300);
    let with_price = |price: &str| format!(r#"{{"productId":"p","quantity":1,"price":{price}}}"#);

    for (price, code) in [
        ("1e400", "money_precision"),
        ("-1e400", "invalid_money"),
        ("1e99999999999999999999", "money_precision"),
        (digits.as_str(), "money_precision"),
        ("1e-400", "money_precision"),
        ("0.1e-99999999999999999999", "money_precision"),
        ("-1", "invalid_money"),
    ] {
        let answer = post_text(&app, &format!("{path}/items"), with_price(price)).await;
        assert_eq!(answer.status, 422, "{price}: {}", answer.text);
        let error = &answer.json()["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&json!("#/price"), &json!(code))
        );
    }
    for price in ["1e2", "0", "1.0", "0e400", "100e-2"] {
        let answer = post_text(&app, &format!("{path}/items"), with_price(price)).await;
        assert_eq!(answer.status, 201, "{price}: {}", answer.text);
    }
    for quantity in [
        "1e400",
        "-0",
        "1e-400",
        "-1",
        digits.as_str(),
        "18446744073709551617",
    ] {
        let body = format!(r#"{{"quantity":{quantity}}}"#);
        let json = [("content-type", "application/json")];
        let answer = app.send_raw(Method::PATCH, &item, &json, body).await;
        let problem = assert_problem(&answer, 422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "#/quantity", "{quantity}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_member_given_twice_is_refused_at_every_level() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let line = r#"{"productId":"p","quantity":1,"price":1,"quantity":1}"#;
    let json = [("content-type", "application/json")];

    let created = post_text(&app, "/v1/orders", r#"{"customerId":"c","customerId":"c"}"#).await;
    let escaped = r#"{"customerId":"c","customer\u0049d":"c"}"#;
    let escaped = post_text(&app, "/v1/orders", escaped).await;
    let inside = format!(r#"{{"customerId":"c","items":[{line}]}}"#);
    let inside = post_text(&app, "/v1/orders", inside).await;
    let added = post_text(&app, &format!("{path}/items"), line).await;
    let twice = r#"{"quantity":1,"quantity":1}"#;
    let changed = app.send_raw(Method::PATCH, &item, &json, twice).await;
    let cancelled = r#"{"reason":"a","reason":"a"}"#;
    let cancelled = post_text(&app, &format!("{path}/cancel"), cancelled).await;

    assert_invalid(&created, &[("#/customerId", "duplicate")]);
    assert_invalid(&escaped, &[("#/customerId", "duplicate")]);
    assert_invalid(&inside, &[("#/items/0/quantity", "duplicate")]);
    assert_invalid(&added, &[("#/quantity", "duplicate")]);
    assert_invalid(&changed, &[("#/quantity", "duplicate")]);
    assert_invalid(&cancelled, &[("#/reason", "duplicate")]);
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
async fn a_body_must_be_declared_as_json() {
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
async fn a_request_that_accepts_no_json_is_refused() {
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
async fn headers_that_are_not_text_do_no_harm() {
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
        // An Accept header that cannot be read may be ignored.
        let is_expected = answer.status == status || (name == "accept" && answer.status == 200);
        assert!(is_expected, "{name}: {}", answer.text);
    }
    for name in ["if-match", "idempotency-key"] {
        let request = app
            .request(Method::POST, &format!("{path}/cancel"))
            .header(name, &bytes);
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        let problem = assert_problem(&answer, 400, "invalid_header");
        assert_eq!(problem["errors"][0]["code"], "invalid");
    }
    app.stop().await;
}
