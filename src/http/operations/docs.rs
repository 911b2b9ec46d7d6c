//! Serves the OpenAPI document at `/openapi.json` and the Swagger UI at `/docs`, both from the
//! binary.

use axum::{Router, http::header, routing::get};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::http::problem::ApiError;

/// The routes of the documentation.
pub fn pages<S: Clone + Send + Sync + 'static>(openapi: &OpenApi) -> Router<S> {
    let document = openapi.to_pretty_json().map_err(ApiError::internal);
    let serve = move || {
        let document = document.clone();
        async move { document.map(|text| ([(header::CONTENT_TYPE, "application/json")], text)) }
    };
    let config = Config::from("/openapi.json")
        .try_it_out_enabled(true)
        .display_request_duration(true)
        // The default validator is a service on the internet.
        .validator_url("none");
    Router::new()
        .route("/openapi.json", get(serve))
        .merge(SwaggerUi::new("/docs").config(config))
}
