//! The OpenAPI document: what surrounds the operations, and what they have in common.

use utoipa::{
    OpenApi as _,
    openapi::{
        Content, ContentBuilder, HeaderBuilder, Object, ObjectBuilder, OpenApi, Ref, RefOr,
        Required, Response, ResponseBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{Schema, Type},
    },
};

use crate::http::problem::{FieldError, Problem};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "orders",
        description = "An event-sourced order service. Commands append events. Queries read a model \
            that follows the events; a client that must read its own writes sends the \
            Consistency-Token of its command. Errors are problem documents (RFC 9457); programs \
            should look at their `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "Commands", description = "Change orders. An Idempotency-Key makes a command safe to repeat."),
        (name = "Queries", description = "Show orders and their history."),
        (name = "Operations", description = "Health and metrics."),
    ),
    components(schemas(Problem, FieldError)),
)]
struct Document;

/// Names, of headers or statuses, with their descriptions.
type Described = &'static [(&'static str, &'static str)];

/// The id of the operation that creates an order.
const CREATION: &str = "create_order";

const COMMAND_HEADERS: Described = &[
    (
        "Idempotency-Key",
        "Makes the command safe to repeat: 1 to 255 printable ASCII characters.",
    ),
    (
        "If-Match",
        "The version that the order must have, as in `\"4\"`, or `*`.",
    ),
    (
        "X-Request-Id",
        "The id of the request in answers, events and logs.",
    ),
    ("traceparent", "W3C trace context; stored with the events."),
];

const COMMAND_ANSWER_HEADERS: Described = &[
    ("ETag", "The version of the order after the command."),
    (
        "Consistency-Token",
        "A read that sends this token sees the events of the command.",
    ),
    ("Location", "The path of the new order."),
    (
        "Idempotent-Replayed",
        "`true` if this repeats the answer to an earlier request with the same key.",
    ),
    ("X-Request-Id", "The id of the request."),
];

const COMMAND_ERRORS: Described = &[
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
    ("429", "`rate_limited`, if a limit is set"),
    ("500", "`internal_error`"),
    (
        "503",
        "`overloaded`, `store_unavailable`: not applied; `timeout`: may have been applied",
    ),
];

const QUERY_HEADERS: Described = &[
    (
        "Consistency-Token",
        "The token of a command: the read waits until it includes the command's events. A token of a \
         position that the store has not reached is refused.",
    ),
    (
        "Prefer",
        "`wait=<s>`: how many seconds the read may wait (default 2, at most 10).",
    ),
    ("X-Request-Id", "The id of the request in answers and logs."),
];

const LAST_EVENT_ID: Described = &[(
    "Last-Event-ID",
    "The id of the last event that the client has received.",
)];

const IF_NONE_MATCH: Described = &[(
    "If-None-Match",
    "The version that the client has. The answer is never older than it.",
)];

const ORDER_PARKED: Described = &[(
    "Order-Parked",
    "Present if the read model cannot apply an event of this order: `version=<n>`, the first event \
     that it lacks. The answer comes from the event store. Lists show the order as it was before \
     that event until an operator retries it.",
)];

const QUERY_ANSWER_HEADERS: Described = &[
    ("ETag", "The version shown (one order only)."),
    (
        "Projection-Position",
        "The position up to which the read model was complete. Among the answers of one instance it \
         never falls.",
    ),
    ("Preference-Applied", "The `wait` that was used."),
    ("Link", "The next page (lists only)."),
    ("X-Request-Id", "The id of the request."),
];

const QUERY_ERRORS: Described = &[
    (
        "400",
        "`invalid_parameter`, `invalid_header`, `invalid_cursor`, `page_too_deep`",
    ),
    ("406", "`not_acceptable`"),
    ("429", "`rate_limited`, if a limit is set"),
    ("500", "`internal_error`"),
    ("503", "`read_model_behind`, `store_unavailable`, `timeout`"),
];

/// Returns the document without any operation.
#[must_use]
pub fn document() -> OpenApi {
    Document::openapi()
}

/// Adds the headers and errors that all commands, or all queries, have in common.
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
    let is_creation = operation.operation_id.as_deref() == Some(CREATION);
    for header in COMMAND_HEADERS {
        if !(is_creation && header.0 == "If-Match") {
            add_header(operation, *header);
        }
    }
    add_answer_headers(operation, COMMAND_ANSWER_HEADERS);
    add_errors(operation, COMMAND_ERRORS);
}

fn complete_query(operation: &mut Operation) {
    let (headers, answer_headers) = match operation.operation_id.as_deref() {
        Some("stream_order" | "stream_orders") => (LAST_EVENT_ID, &[][..]),
        Some("get_order") => (IF_NONE_MATCH, ORDER_PARKED),
        _ => (&[][..], &[][..]),
    };
    for header in QUERY_HEADERS.iter().chain(headers) {
        add_header(operation, *header);
    }
    add_answer_headers(operation, answer_headers);
    add_answer_headers(operation, QUERY_ANSWER_HEADERS);
    add_errors(operation, QUERY_ERRORS);
}

fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

fn add_header(operation: &mut Operation, (name, description): (&str, &str)) {
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

fn add_answer_headers(operation: &mut Operation, headers: Described) {
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

fn add_errors(operation: &mut Operation, errors: Described) {
    let responses = &mut operation.responses.responses;
    for (status, description) in errors {
        let response = || {
            ResponseBuilder::new()
                .description(*description)
                .build()
                .into()
        };
        responses
            .entry((*status).to_owned())
            .or_insert_with(response);
    }
    for (status, response) in responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
            describe_problem(response);
        }
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
