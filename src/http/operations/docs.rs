//! Serves the OpenAPI document at `/openapi.json` and the Swagger UI at `/docs`, both from the
//! binary. `/` leads to the latter.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::map_response,
    response::{Redirect, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::http::problem::ApiError;

/// What browsers may do with the pages: run and show what comes from this service, call only it, and
/// never show them inside another page. Swagger UI's icons are `data:` images of its style sheet.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The headers of every page.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
];

/// The routes of the documentation.
pub fn pages<S: Clone + Send + Sync + 'static>(openapi: &OpenApi) -> Router<S> {
    let document = openapi.to_pretty_json().map_err(ApiError::internal);
    let serve = move || {
        let document = document.clone();
        async move { document.map(|text| ([(header::CONTENT_TYPE, "application/json")], text)) }
    };
    let config = Config::from("/openapi.json")
        .try_it_out_enabled(true)
        // The other layout adds a bar for the documents of other servers, whose logo needs an inline
        // style.
        .use_base_layout()
        .display_request_duration(true)
        // The default validator is a service on the internet.
        .validator_url("none");
    Router::new()
        .route("/", get(async || Redirect::to("/docs/")))
        .route("/openapi.json", get(serve))
        .merge(SwaggerUi::new("/docs").config(config))
        .layer(map_response(protected))
}

async fn protected(mut response: Response) -> Response {
    response.headers_mut().extend(HEADERS);
    response
}
