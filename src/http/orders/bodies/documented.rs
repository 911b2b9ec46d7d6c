//! The bodies of commands as the OpenAPI document shows them. [`super::read`] reads them; a test
//! there compares the members.

use utoipa::ToSchema;
use uuid::Uuid;

/// A new order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what create_order reads")]
pub struct CreateOrder {
    /// The order's id, if the client chooses it. By default the service makes a UUID of version 7.
    #[schema(example = "019aaf00-0000-7000-8000-000000000001")]
    id: Option<Uuid>,
    /// The customer, as opaque text.
    #[schema(min_length = 1, max_length = 128, example = "customer-1")]
    customer_id: String,
    /// The ISO 4217 code of all prices. The default is a setting of the service.
    #[schema(min_length = 3, max_length = 3, example = "EUR")]
    currency: Option<String>,
    /// The first lines of the order.
    #[schema(max_items = 2000)]
    items: Option<Vec<CreateOrderItem>>,
}

/// A line of a new order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what create_order reads")]
pub struct CreateOrderItem {
    /// The line's id, if the client chooses it.
    #[schema(example = "019aaf00-0000-7000-8000-0000000000a1")]
    item_id: Option<Uuid>,
    /// The product, as opaque text.
    #[schema(min_length = 1, max_length = 128, example = "product-1")]
    product_id: String,
    /// How many pieces.
    #[schema(minimum = 1, maximum = 10000, example = 2)]
    quantity: u32,
    /// The price of one piece: a decimal string or a JSON number.
    #[schema(value_type = PriceInput)]
    price: String,
}

/// A line to add to an order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"productId": "product-2", "quantity": 1, "price": "0.50"}))]
#[expect(dead_code, reason = "documents what add_item reads")]
pub struct NewOrderItem {
    /// The line's id, if the client chooses it. By default the service makes a UUID of version 7.
    item_id: Option<Uuid>,
    /// The product, as opaque text.
    #[schema(min_length = 1, max_length = 128, example = "product-2")]
    product_id: String,
    /// How many pieces.
    #[schema(minimum = 1, maximum = 10000, example = 1)]
    quantity: u32,
    /// The price of one piece: a decimal string or a JSON number.
    #[schema(value_type = PriceInput)]
    price: String,
    /// The version that the order must have.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// A price in a request.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = "49.99")]
pub enum PriceInput {
    /// Checked by its text: `"49.990"` has three decimals.
    #[schema(example = "49.99")]
    Text(String),
    /// Checked by its exact value: `49.990` is `49.99`.
    #[schema(example = 49.99)]
    Number(f64),
}

/// A change of a line's quantity.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"quantity": 3}))]
#[expect(dead_code, reason = "documents what change_item reads")]
pub struct ChangeItem {
    /// The new quantity.
    #[schema(minimum = 1, maximum = 10000, example = 3)]
    quantity: u32,
    /// The version that the order must have.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// The completion of an order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({}))]
#[expect(dead_code, reason = "documents what complete_order reads")]
pub struct CompleteOrder {
    /// The version that the order must have.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// The cancellation of an order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"reason": "changed my mind"}))]
#[expect(dead_code, reason = "documents what cancel_order reads")]
pub struct CancelOrder {
    /// The reason.
    #[schema(max_length = 500, example = "changed my mind")]
    reason: Option<String>,
    /// The version that the order must have.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}
