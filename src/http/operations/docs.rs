//! The OpenAPI document and the Swagger UI that shows it, both from the binary itself.

use axum::{Router, http::header, response::IntoResponse, routing::get};
use utoipa::{
    OpenApi as _,
    openapi::{
        Content, ContentBuilder, HeaderBuilder, Object, ObjectBuilder, OpenApi, Ref, RefOr,
        Required, Response, ResponseBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{Schema, Type},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::http::problem::error::{FieldError, Problem};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "orders",
        description = "An event-sourced order service. Commands append events; queries read what a \
            projection keeps of them, with tokens for those who must read what they wrote. Errors \
            are problem documents (RFC 9457) whose `code` programs look at.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "Commands", description = "Change orders. Safe to repeat with an Idempotency-Key."),
        (name = "Queries", description = "Show orders, and their past."),
        (name = "Operations", description = "Health and metrics."),
    ),
    components(schemas(Problem, FieldError)),
)]
struct Document;

/// The document before any route.
#[must_use]
pub fn document() -> OpenApi {
    Document::openapi()
}

/// Adds to every operation what all have in common: headers in and out, and errors.
#[must_use]
pub fn complete(mut openapi: OpenApi) -> OpenApi {
    for item in openapi.paths.paths.values_mut() {
        let (get, post) = (item.get.as_mut(), item.post.as_mut());
        let (patch, delete) = (item.patch.as_mut(), item.delete.as_mut());
        for operation in [get].into_iter().flatten() {
            if has_tag(operation, "Queries") {
                complete_query(operation);
            }
        }
        for operation in [post, patch, delete].into_iter().flatten() {
            complete_command(operation);
        }
    }
    openapi
}

fn has_tag(operation: &Operation, tag: &str) -> bool {
    operation
        .tags
        .as_ref()
        .is_some_and(|tags| tags.iter().any(|name| name == tag))
}

fn complete_command(operation: &mut Operation) {
    let is_creation = operation.operation_id.as_deref() == Some("create_order");
    add_header(
        operation,
        "Idempotency-Key",
        "Makes the command safe to repeat: 1 to 255 printable ASCII characters.",
    );
    if !is_creation {
        add_header(
            operation,
            "If-Match",
            "The version that the order must be at, as in `\"4\"`, or `*`.",
        );
    }
    add_header(
        operation,
        "X-Request-Id",
        "Names the request in answers, events and logs.",
    );
    add_header(
        operation,
        "traceparent",
        "W3C trace context; kept with the events.",
    );
    let shown = [
        ("ETag", "The version that the command led to."),
        (
            "Consistency-Token",
            "Brought along with a read, makes it hold this write.",
        ),
        ("Location", "Where the new order is."),
        (
            "Idempotent-Replayed",
            "`true` where this is the answer to an earlier request, once more.",
        ),
        ("X-Request-Id", "The request's id."),
    ];
    show_headers(operation, &shown);
    add_errors(
        operation,
        &[
            (
                "400",
                "`malformed_json`, `invalid_parameter`, `invalid_header`",
            ),
            ("406", "`not_acceptable`"),
            ("413", "`payload_too_large`"),
            ("415", "`unsupported_media_type`"),
            (
                "422",
                "`validation_failed`, `limit_exceeded`, `idempotency_key_reused`",
            ),
            ("429", "`rate_limited`, where a limit is set"),
            ("500", "`internal_error`"),
            (
                "503",
                "`overloaded`, `store_unavailable`: not applied; `timeout`: may have been applied",
            ),
        ],
    );
}

fn complete_query(operation: &mut Operation) {
    add_header(
        operation,
        "Consistency-Token",
        "The token of a command: the read waits until it holds that write.",
    );
    add_header(
        operation,
        "Prefer",
        "`wait=<s>`: how long the read may wait (default 2, at most 10).",
    );
    add_header(
        operation,
        "X-Request-Id",
        "Names the request in answers and logs.",
    );
    if matches!(
        operation.operation_id.as_deref(),
        Some("stream_order" | "stream_orders")
    ) {
        add_header(
            operation,
            "Last-Event-ID",
            "The id of the last event that the client has seen.",
        );
    }
    if operation.operation_id.as_deref() == Some("get_order") {
        add_header(
            operation,
            "If-None-Match",
            "The version that the client has; never answered with an older one.",
        );
        let parked = "Only where the read model cannot apply an event of this order: `version=<n>`, \
                      the first event that is missing there. The answer is the write side's; lists \
                      show the order as it was before that event until an operator has it retried.";
        show_headers(operation, &[("Order-Parked", parked)]);
    }
    let shown = [
        ("ETag", "The version shown (one order only)."),
        (
            "Projection-Position",
            "Up to which event the read model was complete.",
        ),
        ("Preference-Applied", "The wait that was allowed."),
        ("Link", "The next page (lists only)."),
        ("X-Request-Id", "The request's id."),
    ];
    show_headers(operation, &shown);
    add_errors(
        operation,
        &[
            (
                "400",
                "`invalid_parameter`, `invalid_header`, `invalid_cursor`, `page_too_deep`",
            ),
            ("406", "`not_acceptable`"),
            ("429", "`rate_limited`, where a limit is set"),
            ("500", "`internal_error`"),
            ("503", "`read_model_behind`, `store_unavailable`, `timeout`"),
        ],
    );
}

fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

fn add_header(operation: &mut Operation, name: &str, description: &str) {
    let parameter: Parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Schema::Object(text())))
        .build();
    operation
        .parameters
        .get_or_insert_default()
        .push(parameter.into());
}

fn show_headers(operation: &mut Operation, headers: &[(&str, &str)]) {
    for (status, response) in &mut operation.responses.responses {
        let (true, RefOr::T(response)) = (status.starts_with(['2', '3']), response) else {
            continue;
        };
        for (name, description) in headers {
            let header = HeaderBuilder::new()
                .description(Some(*description))
                .schema(Some(Schema::Object(text())))
                .build();
            response.headers.insert((*name).to_owned(), header.into());
        }
    }
}

fn add_errors(operation: &mut Operation, errors: &[(&str, &str)]) {
    for (status, description) in errors {
        operation
            .responses
            .responses
            .entry((*status).to_owned())
            .or_insert_with(|| {
                ResponseBuilder::new()
                    .description(*description)
                    .build()
                    .into()
            });
    }
    for (status, response) in &mut operation.responses.responses {
        let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) else {
            continue;
        };
        describe_problem(response);
    }
}

fn describe_problem(response: &mut Response) {
    let content: Content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    response
        .content
        .entry("application/problem+json".to_owned())
        .or_insert(content.into());
}

/// `/openapi.json` and `/docs`.
pub fn pages<S: Clone + Send + Sync + 'static>(openapi: &OpenApi) -> Router<S> {
    let document = openapi.to_pretty_json().unwrap_or_default();
    let serve = move || {
        let document = document.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], document).into_response() }
    };
    let config = Config::from("/openapi.json")
        .try_it_out_enabled(true)
        .display_request_duration(true)
        // Asks nobody outside whether the document is valid.
        .validator_url("none");
    Router::new()
        .route("/openapi.json", get(serve))
        .merge(SwaggerUi::new("/docs").config(config))
}
