//! Health checks, metrics, the OpenAPI document and the pages that show it.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{members, place};
use crate::support::{TestApp, eventually};

#[tokio::test]
async fn health_is_json_with_every_check() {
    let app = TestApp::start().await;

    let live = app.get("/health/live").await;
    let ready = eventually("the service is ready", || async {
        let ready = app.get("/health/ready").await;
        (ready.json()["status"] == "ok").then_some(ready)
    })
    .await;
    let head = app.send(Method::HEAD, "/health/ready", &[], None).await;
    let as_text = app
        .get_with("/health/ready", &[("accept", "text/plain")])
        .await;

    assert_eq!((live.status, live.json()), (200, json!({"status": "ok"})));
    for answer in [&live, &ready] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(ready.status, 200);
    let json = ready.json();
    assert_eq!(members(&json), ["checks", "status"]);
    let checks = json["checks"].as_array().expect("checks");
    let names: BTreeSet<_> = checks
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["nats", "postgres", "readModel", "relay"])
    );
    for check in checks {
        assert_eq!(members(check), ["detail", "name", "status"]);
    }
    assert_eq!(
        (head.status, head.text.as_str(), as_text.status),
        (200, "", 200)
    );
    app.stop().await;
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_bounded_labels() {
    let app = TestApp::start().await;
    place(&app, json!([])).await;
    let strange = Method::from_bytes(b"STRANGEMETHOD").expect("a method");
    assert_eq!(app.send(strange, "/v1/orders", &[], None).await.status, 405);
    assert_eq!(app.get("/strange-path").await.status, 404);

    let metrics = app.get("/metrics").await;

    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(!metrics.text.contains("STRANGEMETHOD") && !metrics.text.contains("strange-path"));
    for line in metrics
        .text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    app.stop().await;
}

/// The parameters of an operation, each as its place and its name.
fn parameters(operation: &Value) -> BTreeSet<String> {
    let parameters = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    parameters
        .iter()
        .map(|parameter| {
            format!(
                "{} {}",
                parameter["in"].as_str().unwrap_or_default(),
                parameter["name"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

/// Every reference in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                found.insert(reference.to_owned());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The documented operations: method, path, and lists of parameters.
fn operations() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let command = "header Idempotency-Key,header X-Request-Id,header traceparent";
    let read = "header Consistency-Token,header Prefer,header X-Request-Id";
    let list = "query customerId,query status,query productId,query createdFrom,query createdTo,\
        query updatedFrom,query updatedTo,query sort,query page,query pageSize,query cursor,\
        query includeTotal,query view";
    let show = "path id,query minVersion,query version,query asOf,header If-None-Match";
    let (item, change) = (
        "path id,path itemId,header If-Match",
        "path id,header If-Match",
    );
    vec![
        ("post", "/v1/orders", vec![command]),
        ("get", "/v1/orders", vec![read, list]),
        ("get", "/v1/orders/{id}", vec![read, show]),
        (
            "get",
            "/v1/orders/{id}/events",
            vec![read, "path id,query fromVersion,query limit"],
        ),
        (
            "get",
            "/v1/orders/{id}/stream",
            vec![read, "path id,query lastEventId,header Last-Event-ID"],
        ),
        (
            "get",
            "/v1/orders/stream",
            vec![
                read,
                "query customerId,query status,query lastEventId,header Last-Event-ID",
            ],
        ),
        ("post", "/v1/orders/{id}/items", vec![command, change]),
        (
            "patch",
            "/v1/orders/{id}/items/{itemId}",
            vec![command, item],
        ),
        (
            "delete",
            "/v1/orders/{id}/items/{itemId}",
            vec![command, item],
        ),
        ("post", "/v1/orders/{id}/complete", vec![command, change]),
        ("post", "/v1/orders/{id}/cancel", vec![command, change]),
        ("get", "/health/live", vec![]),
        ("get", "/health/ready", vec![]),
        ("get", "/metrics", vec![]),
    ]
}

#[tokio::test]
async fn the_openapi_document_names_every_route_with_its_parameters() {
    let app = TestApp::start().await;

    let answer = app.get("/openapi.json").await;

    let document = answer.json();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    assert!(
        document["openapi"]
            .as_str()
            .unwrap_or_default()
            .starts_with("3.1")
    );
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    for (method, path, expected) in operations() {
        let operation = &document["paths"][path][method];
        let expected: BTreeSet<_> = expected
            .iter()
            .flat_map(|part| part.split(','))
            .map(str::to_owned)
            .collect();
        assert_eq!(parameters(operation), expected, "{method} {path}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{method} {path}"
        );
        for (status, response) in responses.iter().filter(|_| path.starts_with("/v1")) {
            assert!(response["description"].is_string());
            if status.starts_with(['4', '5']) {
                assert!(
                    response["content"]["application/problem+json"].is_object(),
                    "{path} {status}"
                );
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_openapi_document_is_consistent() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.json();

    let mut found = BTreeSet::new();
    references(&document, &mut found);

    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference
            .strip_prefix('#')
            .expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let paths = document["paths"].as_object().expect("paths");
    let operations: Vec<_> = paths
        .values()
        .flat_map(|item| item.as_object().expect("a path").values())
        .collect();
    let ids: BTreeSet<_> = operations
        .iter()
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    assert_eq!(ids.len(), operations.len());
    let order = &document["components"]["schemas"]["OrderView"];
    let (placed, _) = place(&app, json!([])).await;
    let required: BTreeSet<_> = order["required"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(required, members(&placed.json()).into_iter().collect());
    app.stop().await;
}

#[tokio::test]
async fn the_documentation_needs_no_other_server() {
    let app = TestApp::start().await;

    let page = app.get("/docs").await;

    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let assets: Vec<_> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.text.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(assets.len() >= 4, "{assets:?}");
    for asset in assets {
        assert!(!asset.contains("//"), "{asset} is on another server");
        let answer = app
            .get(&format!("/docs/{}", asset.trim_start_matches("./")))
            .await;
        assert_eq!(answer.status, 200, "{asset}");
        assert!(!answer.text.is_empty());
    }
    let start = app.get("/docs/swagger-initializer.js").await;
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    assert!(
        !start.text.contains("http://") && !start.text.contains("https://"),
        "{}",
        start.text
    );
    app.stop().await;
}
