//! Cursors that the service did not make.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use crate::support::TestApp;

const SORTS: [&str; 4] = ["createdAt", "-createdAt", "updatedAt", "-updatedAt"];

/// A forged key of a list: a time in microseconds, and the bytes behind it.
fn key(micros: i64, rest: &[u8]) -> Vec<u8> {
    [micros.to_be_bytes().as_slice(), rest].concat()
}

#[tokio::test]
async fn a_forged_cursor_is_refused_and_is_never_an_error_of_the_service() {
    let app = TestApp::start().await;
    for customer in ["a", "b"] {
        app.post("/v1/orders", &json!({"customerId": customer}))
            .await;
    }
    app.wait_until_caught_up().await;

    for sort in SORTS {
        let list = format!("/v1/orders?sort={sort}&pageSize=1");
        let first = app.get(&list).await.json();
        let cursor = first["nextCursor"].as_str().expect("a second page");
        let bytes = URL_SAFE_NO_PAD.decode(cursor).expect("base64");
        let digest = &bytes[..8];
        let forge = |key: &[u8]| URL_SAFE_NO_PAD.encode([digest, key].concat());
        let id = [7; 16];

        // Times at the edges of the calendar are a place in the list like any other.
        for micros in [-62_135_596_800_000_000, 253_402_300_799_999_999, 0] {
            let answer = app
                .get(&format!("{list}&cursor={}", forge(&key(micros, &id))))
                .await;
            assert_eq!(answer.status, 200, "{micros}: {}", answer.text);
        }
        let mut refused = vec![
            forge(&[]),
            forge(&id),
            forge(&key(0, &[])),
            forge(&key(0, &[7; 17])),
            URL_SAFE_NO_PAD.encode(&bytes[8..]),
            format!("{cursor}="),
            format!("{cursor}A"),
            cursor[1..].to_owned(),
            "%00".to_owned(),
            "99999999999999999999".to_owned(),
            "null".to_owned(),
            "%F0%9F%8E%81".to_owned(),
            String::new(),
        ];
        for micros in [
            i64::MIN,
            i64::MAX,
            -62_198_755_200_000_000,
            253_402_300_800_000_000,
        ] {
            refused.push(forge(&key(micros, &id)));
        }
        for cursor in refused {
            let answer = app.get(&format!("{list}&cursor={cursor}")).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "invalid_cursor"),
                "{cursor}: {}",
                answer.text
            );
        }
        let not_text = app.get(&format!("{list}&cursor=%ff")).await;
        assert_eq!(
            (not_text.status, not_text.code().as_str()),
            (400, "invalid_parameter")
        );
    }
    app.stop().await;
}
