//! The committed OpenAPI document is the one that the code generates.

#[test]
fn the_committed_openapi_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    let committed = std::fs::read_to_string(path).expect("openapi/openapi.json");

    let generated = orders::http::openapi().to_pretty_json().expect("JSON");

    assert!(
        committed.trim_end() == generated.trim_end(),
        "run `make openapi` and commit the result"
    );
}
