//! One order through the whole service.

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn an_order_is_placed_changed_completed_and_found() {
    let app = TestApp::start().await;

    let created = app
        .post(
            "/v1/orders",
            &json!({"customerId": "customer-1", "items": [
            {"productId": "product-1", "quantity": 2, "price": "49.99"}]}),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let path = format!("/v1/orders/{}", created.id());
    let item = json!({"productId": "product-2", "quantity": 1, "price": 0.5});
    let added = app.post(&format!("{path}/items"), &item).await;
    assert_eq!((added.status, added.header("etag")), (201, "\"2\""));
    let completed = app
        .send_raw(reqwest::Method::POST, &format!("{path}/complete"), &[], "")
        .await;
    assert_eq!(completed.status, 200, "{}", completed.text);

    let token = completed.header("consistency-token");
    let shown = app.get_with(&path, &[("consistency-token", token)]).await;
    assert_eq!(shown.json(), completed.json());
    assert_eq!(shown.json()["total"], "100.48");
    assert_eq!(shown.json()["status"], "completed");
    app.stop().await;
}
