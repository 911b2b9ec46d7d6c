//! The command endpoints: each reads its request strictly and executes one command.
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{extract::State, http::header, response::Response};

use super::{
    bodies::{self, CancelOrder, ChangeItem, CompleteOrder, CreateOrder, NewOrderItem},
    execute::{CommandContext, PreparedCommand, Success},
    paths::{ItemPath, OrderPath},
    views::OrderView,
};
use crate::{
    http::{
        api::Api,
        problem::ApiError,
        request::{body::JsonBody, context::new_id},
    },
    order::OrderCommand,
};

fn item_price(index: usize) -> String {
    format!("#/items/{index}/price")
}

/// Places an order
///
/// An `id` may be chosen by the client: creating the same order again then answers 200 with the
/// order as it is, and another order with that id 409 `order_already_exists`.
#[utoipa::path(
    post, path = "/v1/orders", tag = "Commands",
    request_body = CreateOrder,
    responses(
        (status = 201, description = "Placed", body = OrderView),
        (status = 200, description = "The same order was placed before", body = OrderView),
        (status = 409, description = "`order_already_exists`, `idempotency_in_progress`"),
    )
)]
pub async fn create_order(
    State(api): State<Arc<Api>>,
    context: CommandContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    if context.has_header(&header::IF_MATCH) {
        return Err(ApiError::header(
            "If-Match",
            "cannot be used to create an order",
        ));
    }
    let (id, command) = bodies::create_order(&body.bytes, api.default_currency)?;
    let order_id = id.unwrap_or_else(|| new_id().into());
    let prepared = PreparedCommand {
        is_new: id.is_none(),
        success: Success::OrderCreated,
        price_pointer: item_price,
        ..PreparedCommand::new(order_id, command(order_id), None)
    };
    context.execute(&api, body, prepared).await
}

/// Adds a line to an order
///
/// Lines are never merged: the same product twice is two lines.
#[utoipa::path(
    post, path = "/v1/orders/{id}/items", tag = "Commands", params(OrderPath),
    request_body = NewOrderItem,
    responses(
        (status = 201, description = "Added", body = OrderView),
        (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_open`, `item_already_exists`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn add_item(
    State(api): State<Arc<Api>>,
    OrderPath { id }: OrderPath,
    context: CommandContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (item, expected_in_body) = bodies::add_item(&body.bytes)?;
    let command = OrderCommand::AddItem(item);
    let prepared = PreparedCommand {
        success: Success::ItemAdded,
        ..PreparedCommand::new(id, command, expected_in_body)
    };
    context.execute(&api, body, prepared).await
}

/// Changes the quantity of a line
///
/// A quantity that the line has already changes nothing: no event, the same version.
#[utoipa::path(
    patch, path = "/v1/orders/{id}/items/{itemId}", tag = "Commands", params(ItemPath),
    request_body = ChangeItem,
    responses(
        (status = 200, description = "Changed", body = OrderView),
        (status = 404, description = "`order_not_found`, `item_not_found`"),
        (status = 409, description = "`order_not_open`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn change_item(
    State(api): State<Arc<Api>>,
    ItemPath { id, item_id }: ItemPath,
    context: CommandContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (quantity, expected_in_body) = bodies::change_item(&body.bytes)?;
    let command = OrderCommand::ChangeItemQuantity { item_id, quantity };
    let prepared = PreparedCommand::new(id, command, expected_in_body);
    context.execute(&api, body, prepared).await
}

/// Removes a line
#[utoipa::path(
    delete, path = "/v1/orders/{id}/items/{itemId}", tag = "Commands", params(ItemPath),
    responses(
        (status = 200, description = "Removed", body = OrderView),
        (status = 404, description = "`order_not_found`, `item_not_found`"),
        (status = 409, description = "`order_not_open`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn remove_item(
    State(api): State<Arc<Api>>,
    ItemPath { id, item_id }: ItemPath,
    context: CommandContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    bodies::nothing(&body.bytes)?;
    let command = OrderCommand::RemoveItem { item_id };
    let prepared = PreparedCommand::new(id, command, None);
    context.execute(&api, body, prepared).await
}

/// Completes an order
///
/// Final: a completed order never changes again.
#[utoipa::path(
    post, path = "/v1/orders/{id}/complete", tag = "Commands", params(OrderPath),
    request_body = Option<CompleteOrder>,
    responses(
        (status = 200, description = "Completed", body = OrderView),
        (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_open`, `order_has_no_items`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn complete_order(
    State(api): State<Arc<Api>>,
    OrderPath { id }: OrderPath,
    context: CommandContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let expected_in_body = bodies::complete_order(&body.bytes)?;
    let prepared = PreparedCommand::new(id, OrderCommand::Complete, expected_in_body);
    context.execute(&api, body, prepared).await
}

/// Cancels an order
///
/// Final: a cancelled order never changes again.
#[utoipa::path(
    post, path = "/v1/orders/{id}/cancel", tag = "Commands", params(OrderPath),
    request_body = Option<CancelOrder>,
    responses(
        (status = 200, description = "Cancelled", body = OrderView),
        (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_open`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn cancel_order(
    State(api): State<Arc<Api>>,
    OrderPath { id }: OrderPath,
    context: CommandContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (reason, expected_in_body) = bodies::cancel_order(&body.bytes)?;
    let command = OrderCommand::Cancel { reason };
    let prepared = PreparedCommand::new(id, command, expected_in_body);
    context.execute(&api, body, prepared).await
}
