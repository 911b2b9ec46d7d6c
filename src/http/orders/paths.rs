//! The path parameters of the order endpoints.

use axum::{extract::FromRequestParts, http::request::Parts};
use utoipa::IntoParams;

use crate::{
    http::{problem::ApiError, request::parameters::PathParameters},
    order::{ItemId, OrderId},
};

/// The parameter of `/v1/orders/{id}`.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OrderPath {
    /// The order's id.
    #[param(value_type = Uuid, example = "019aaf00-0000-7000-8000-000000000001")]
    pub id: OrderId,
}

/// The parameters of `/v1/orders/{id}/items/{itemId}`.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ItemPath {
    /// The order's id.
    #[param(value_type = Uuid, example = "019aaf00-0000-7000-8000-000000000001")]
    pub id: OrderId,
    /// The line's id.
    #[param(
        rename = "itemId",
        value_type = Uuid,
        example = "019aaf00-0000-7000-8000-0000000000a1"
    )]
    pub item_id: ItemId,
}

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = PathParameters::of(parts, state).await;
        match path.uuid("id") {
            Ok(id) => Ok(Self { id: id.into() }),
            Err(error) => Err(ApiError::parameters(vec![error])),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ItemPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = PathParameters::of(parts, state).await;
        match (path.uuid("id"), path.uuid("itemId")) {
            (Ok(id), Ok(item_id)) => Ok(Self {
                id: id.into(),
                item_id: item_id.into(),
            }),
            (id, item_id) => {
                let errors = [id.err(), item_id.err()];
                Err(ApiError::parameters(errors.into_iter().flatten().collect()))
            }
        }
    }
}
