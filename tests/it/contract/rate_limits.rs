//! Rate limits.

use std::num::NonZeroU32;

use serde_json::json;
use tokio::time::Instant;

use super::assert_problem;
use crate::support::{PATIENCE, TestApp, eventually};

#[tokio::test]
async fn too_many_requests_are_answered_429_and_not_applied() {
    let limit = NonZeroU32::new(2);
    let app = TestApp::start_with(|config| config.http.rate_limit = limit).await;
    let (mut placed, mut refused) = (0, vec![]);

    let body = json!({"customerId": "customer-1"});
    let deadline = Instant::now() + PATIENCE;
    while refused.len() < 20 && Instant::now() < deadline {
        let answer = app.post("/v1/orders", &body).await;
        if answer.status == 201 {
            placed += 1;
        } else {
            refused.push(answer);
        }
    }

    assert_eq!(refused.len(), 20);
    for answer in &refused {
        assert_problem(answer, 429, "rate_limited");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert!(placed >= 2);
    let stored: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&app.database)
        .await
        .unwrap();
    assert_eq!(stored, placed);
    for path in ["/health/live", "/health/ready"] {
        for _ in 0..10 {
            assert_eq!(app.get(path).await.status, 200);
        }
    }
    eventually("the address may send requests again", || async {
        let listed = app.get("/v1/orders").await;
        (listed.status == 200).then_some(())
    })
    .await;
    app.stop().await;
}
