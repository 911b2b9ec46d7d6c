//! Live updates: server-sent events of all orders or of one.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    UNKNOWN_ID, assert_problem, bad_fields, history::insert_event, id, line, place_one,
    post_nothing,
};
use crate::support::{EventSource, TestApp, event_source::Message};

/// Opens a stream.
async fn open(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> EventSource {
    let mut request = app.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    EventSource::open(request.send().await.expect("the service answers")).await
}

/// Creates an order of a customer.
async fn create(app: &TestApp, number: u128, customer: &str) -> String {
    let items = json!([line("product-1", 1, "5")]);
    let body = json!({"id": id(number), "customerId": customer, "items": items});
    assert_eq!(app.post("/v1/orders", &body).await.status, 201);
    format!("/v1/orders/{}", id(number))
}

fn names(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|one| one.event.as_str()).collect()
}

/// The history entries of these orders, in position order.
async fn entries(app: &TestApp, paths: &[&str]) -> Vec<Value> {
    let mut entries = vec![];
    for path in paths {
        let history = app.get(&format!("{path}/events")).await.json();
        entries.extend(history["items"].as_array().expect("entries").clone());
    }
    entries.sort_by_key(|entry| entry["position"].as_i64());
    entries
}

#[tokio::test]
async fn a_stream_shows_new_events_as_history_entries() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;

    let mut stream = open(
        &app,
        "/v1/orders/stream",
        &[("accept", "text/event-stream")],
    )
    .await;
    let header = |name: &str| stream.response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-accel-buffering"), "no");
    assert!(header("projection-position").parse::<i64>().is_ok());
    app.post(&format!("{path}/items"), &line("product-2", 1, "1"))
        .await;
    post_nothing(&app, &format!("{path}/complete"), &[]).await;
    let other = create(&app, 2, "customer-2").await;
    let messages = stream.take(3).await;

    let expected = entries(&app, &[&path, &other]).await.split_off(1);
    let shown: Vec<_> = messages.iter().map(|one| one.data.clone()).collect();
    assert_eq!(shown, expected);
    for message in messages {
        assert_eq!(message.data["type"], message.event);
        assert_eq!(message.data["position"], message.position());
    }
    drop(stream);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_continues_after_the_last_event_seen() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    for _ in 0..30 {
        app.post(&format!("{path}/items"), &line("product-2", 1, "1"))
            .await;
    }
    let all = entries(&app, &[&path]).await;
    let position = |index: usize| all[index]["position"].to_string();

    let header = position(20);
    let by_header = [("last-event-id", header.as_str())];
    let by_parameter = format!("lastEventId={}", position(5));
    for scope in ["/v1/orders/stream".to_owned(), format!("{path}/stream")] {
        let both = format!("{scope}?{by_parameter}");
        for (path, headers, seen) in [
            (format!("{scope}?lastEventId=0"), &[][..], 0),
            (both.clone(), &[], 6),
            (scope.clone(), &by_header, 21),
            // A browser repeats the address that it was given, and adds the header.
            (both, &by_header, 21),
        ] {
            let mut stream = open(&app, &path, headers).await;
            let messages = stream.take(all.len() - seen).await;

            let shown: Vec<_> = messages.into_iter().map(|one| one.data).collect();
            assert_eq!(shown, all[seen..], "{path} {headers:?}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_stream_of_an_order_shows_no_other() {
    let app = TestApp::start().await;
    let one = create(&app, 1, "customer-1").await;
    let other = create(&app, 2, "customer-1").await;
    let mut stream = open(&app, &format!("{one}/stream"), &[]).await;

    post_nothing(&app, &format!("{other}/complete"), &[]).await;
    post_nothing(&app, &format!("{one}/cancel"), &[]).await;

    let message = stream.next().await.unwrap();
    assert_eq!(message.event, "OrderCancelled");
    assert_eq!(message.data["orderId"], json!(id(1)));
    let missing = app.get(&format!("/v1/orders/{UNKNOWN_ID}/stream")).await;
    assert_problem(&missing, 404, "order_not_found");
    assert_ne!(missing.header("projection-position"), "");
    app.stop().await;
}

#[tokio::test]
async fn a_stream_is_filtered_by_customer_and_status() {
    let app = TestApp::start().await;
    // The only event that names its customer lies before the beginning of the streams.
    let early = create(&app, 1, "customer-1").await;
    let theirs = create(&app, 2, "customer-2").await;
    let stream = async |query: &str| open(&app, &format!("/v1/orders/stream?{query}"), &[]).await;
    let mut of_customer = stream("customerId=customer-1").await;
    let mut ended = stream("status=completed&status=cancelled").await;
    let mut both = stream("status=created&customerId=customer-1").await;
    let mut no_orders_yet = stream("customerId=customer-3").await;

    post_nothing(&app, &format!("{theirs}/complete"), &[]).await;
    app.post(&format!("{early}/items"), &line("product-2", 1, "1"))
        .await;
    post_nothing(&app, &format!("{early}/cancel"), &[]).await;
    create(&app, 3, "customer-1").await;
    create(&app, 4, "customer-3").await;

    let of_customer = of_customer.take(3).await;
    let expected = ["OrderItemAdded", "OrderCancelled", "OrderCreated"];
    assert_eq!(names(&of_customer), expected);
    let ended = ended.take(2).await;
    assert_eq!(names(&ended), ["OrderCompleted", "OrderCancelled"]);
    let both = both.take(2).await;
    assert_eq!(names(&both), ["OrderItemAdded", "OrderCreated"]);
    let no_orders_yet = no_orders_yet.next().await.unwrap();
    assert_eq!(no_orders_yet.data["orderId"], json!(id(4)));
    app.stop().await;
}

#[tokio::test]
async fn an_id_ahead_of_the_store_gets_one_resync() {
    let app = TestApp::start().await;
    let path = create(&app, 1, "customer-1").await;
    let newest = entries(&app, &[&path]).await[0]["position"].clone();

    for ahead in ["1000000", "99999999999999999999"] {
        let mut stream = open(&app, "/v1/orders/stream", &[("last-event-id", ahead)]).await;
        let resync = stream.next().await.unwrap();
        assert_eq!(resync.event, "resync");
        assert_eq!(resync.id, newest.to_string());
        assert_eq!(resync.data, json!({"position": newest}));
    }
    let query = "/v1/orders/stream?lastEventId=77";
    let mut stream = open(&app, query, &[]).await;
    stream.next().await.unwrap();
    post_nothing(&app, &format!("{path}/complete"), &[]).await;
    assert_eq!(stream.next().await.unwrap().event, "OrderCompleted");
    app.stop().await;
}

#[tokio::test]
async fn invalid_requests_for_a_stream_are_refused() {
    let app = TestApp::start().await;
    let path = create(&app, 1, "customer-1").await;

    for (query, parameter, code) in [
        ("lastEventId=", "lastEventId", "invalid"),
        ("lastEventId=-1", "lastEventId", "invalid"),
        ("lastEventId=1&lastEventId=2", "lastEventId", "repeated"),
        ("status=open", "status", "invalid"),
        ("customerId=", "customerId", "required"),
        ("productId=p", "productId", "unknown_parameter"),
    ] {
        let refused = app.get(&format!("/v1/orders/stream?{query}")).await;
        assert_problem(&refused, 400, "invalid_parameter");
        let expected = (parameter.to_owned(), code.to_owned());
        assert_eq!(bad_fields(&refused), [expected], "{query}");
    }
    let refused = app.get(&format!("{path}/stream?status=created")).await;
    assert_problem(&refused, 400, "invalid_parameter");
    for header in ["", "x", "1.5", "-3"] {
        let headers = [("last-event-id", header)];
        let refused = app.get_with(&format!("{path}/stream"), &headers).await;
        assert_problem(&refused, 400, "invalid_header");
    }
    let refused = app.get("/v1/orders/1/stream").await;
    assert_problem(&refused, 400, "invalid_parameter");
    let headers = [("accept", "application/json")];
    let refused = app.get_with("/v1/orders/stream", &headers).await;
    assert_problem(&refused, 406, "not_acceptable");
    let refused = app
        .post_with("/v1/orders/stream", &json!({}), &headers)
        .await;
    assert_problem(&refused, 405, "method_not_allowed");
    app.stop().await;
}

#[tokio::test]
async fn old_events_are_shown_in_the_current_schema_and_unreadable_ones_unchanged() {
    let mut app = TestApp::start().await;
    app.may_park();
    let mut stream = open(&app, "/v1/orders/stream", &[]).await;
    let mut unknown_customer = open(&app, "/v1/orders/stream?customerId=unknown", &[]).await;

    let old = json!({"orderId": id(1), "total": "12.5"});
    insert_event(&app, id(1), 1, ("OrderCreated", 1), old, json!({})).await;
    let odd = ("OrderArchived", 7);
    insert_event(&app, id(1), 2, odd, json!({"a": 1}), json!({})).await;

    let [lifted, kept] = stream.take(2).await.try_into().unwrap();
    assert_eq!(lifted.data["schemaVersion"], 3);
    assert_eq!(lifted.data["data"]["items"][0]["price"], "12.50");
    assert_eq!(lifted.data["data"]["customerId"], "unknown");
    assert_eq!(kept.event, "OrderArchived");
    assert_eq!(
        (&kept.data["data"], &kept.data["schemaVersion"]),
        (&json!({"a": 1}), &json!(7))
    );
    assert_eq!(unknown_customer.take(2).await, [lifted, kept]);
    app.stop().await;
}

#[tokio::test]
async fn events_of_other_aggregates_are_not_shown() {
    let app = TestApp::start().await;
    let mut stream = open(&app, "/v1/orders/stream", &[]).await;

    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                             data, metadata, created_at)
         select gen_random_uuid(), 'BankAccount', $1, n, 'OrderCompleted', 1, '{}', '{}', now()
         from generate_series(1, 500) n",
    )
    .bind(Uuid::from_u128(7))
    .execute(&app.database)
    .await
    .unwrap();
    create(&app, 1, "customer-1").await;

    assert_eq!(stream.next().await.unwrap().event, "OrderCreated");
    app.stop().await;
}

#[tokio::test]
async fn a_stream_shows_events_of_another_process() {
    let app = TestApp::start().await;
    let other = app.second().await;
    let mut stream = open(&app, "/v1/orders/stream", &[]).await;
    let mut expected = vec![];

    for number in 0..20 {
        let writer = if number % 3 == 0 { &app } else { &other };
        create(writer, number, "customer-1").await;
        expected.push(json!(id(number)));
    }

    let messages = stream.take(20).await;
    let shown: Vec<_> = messages
        .iter()
        .map(|one| one.data["orderId"].clone())
        .collect();
    assert_eq!(shown, expected);
    drop(stream);
    other.stop().await;
    app.stop().await;
}

/// Events that the client does not read fill the socket's buffers. The service cannot send the rest.
#[tokio::test]
async fn a_client_that_does_not_read_does_not_delay_a_stop() {
    let app = TestApp::start().await;
    let stream = open(&app, "/v1/orders/stream", &[]).await;
    let mut idle = open(&app, "/v1/orders/stream?customerId=x", &[]).await;
    let product = "p".repeat(128);
    let items = vec![line(&product, 1, "1"); 2000];
    for number in 0..40 {
        let body = json!({"id": id(number), "customerId": "customer-1", "items": items});
        assert_eq!(app.post("/v1/orders", &body).await.status, 201);
    }
    create(&app, 100, "x").await;
    assert_eq!(idle.next().await.unwrap().event, "OrderCreated");
    app.wait_until_caught_up().await;

    let took = app.stop().await;

    // A stop waits for requests, up to seven seconds, but not for streams.
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(stream);
}

#[tokio::test]
async fn a_stop_ends_streams() {
    let app = TestApp::start().await;
    create(&app, 1, "customer-1").await;
    let mut streams = vec![];
    for path in ["/v1/orders/stream", "/v1/orders/stream?customerId=x"] {
        streams.push(open(&app, path, &[]).await);
    }
    app.stop().await;

    for mut stream in streams {
        assert_eq!(stream.next().await, None);
        assert!(stream.response.chunk().await.is_ok(), "ended, not cut off");
    }
}
