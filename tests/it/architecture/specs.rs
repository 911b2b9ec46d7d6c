//! The checks find what they should, on small source trees made by hand.

use std::collections::BTreeSet;

use super::{broken_rules, cycles, source_tree::SourceTree, words};

fn tree(files: &[(&str, &str)]) -> SourceTree {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    SourceTree::parse(&files)
}

/// The broken rules if this file is added to a small source tree.
fn broken_by(file: &str, text: &str) -> Vec<String> {
    broken_rules(&tree(&[
        (
            "lib.rs",
            "pub mod http; pub mod nats; pub mod order; pub mod read_model;",
        ),
        ("http/mod.rs", "pub mod orders; pub mod json;"),
        ("http/json.rs", "pub struct Reader;"),
        ("nats/mod.rs", "pub fn connect() {}"),
        ("order/mod.rs", "pub struct Order;"),
        (
            "read_model/mod.rs",
            "pub use crate::nats::connect as hidden;",
        ),
        (file, text),
    ]))
}

#[test]
fn an_import_is_found_however_it_is_written() {
    for text in [
        "use crate::nats;",
        "use crate::nats::connect;",
        "use crate::{nats, order::Order};",
        "use crate::{order::Order, nats::{self as messages}};",
        "use super::super::nats::connect;",
        "use crate::*; fn f() { nats::connect(); }",
        "fn f() { crate::nats::connect(); }",
        "fn f() { println!(\"{:?}\", crate::nats::connect()); }",
        "fn f(name: super::super::nats::Name) {}",
        "mod inner { fn f() { super::super::super::nats::connect(); } }",
        "pub use crate::nats::connect;",
    ] {
        let broken = broken_by("http/orders.rs", text);

        assert!(
            broken.contains(&"http/orders.rs imports nats".to_owned()),
            "{text}: {broken:?}"
        );
    }
}

#[test]
fn a_re_export_does_not_hide_an_import() {
    let broken = broken_by("http/orders.rs", "use crate::read_model::hidden;");

    assert_eq!(
        broken,
        [
            "http/orders.rs imports nats",
            "read_model/mod.rs imports nats"
        ]
    );
}

#[test]
fn what_only_looks_like_an_import_is_none() {
    for text in [
        "// use crate::nats;",
        "/// See [`crate::nats`].\nfn f() {}",
        "fn f() { g(\"crate::nats\"); }",
        "use nats::Client;",
        "use crate::order::Order; use super::json::Reader; use self::inner::nats; mod inner { pub fn nats() {} }",
        "fn f(nats: u8) -> u8 { nats }",
    ] {
        let broken = broken_by("http/orders.rs", text);

        assert_eq!(broken, ["read_model/mod.rs imports nats"], "{text}");
    }
}

#[test]
fn a_path_from_the_crate_name_and_a_module_of_the_same_name_are_distinguished() {
    let broken = broken_by("main.rs", "use orders::nats::connect;");
    assert_eq!(broken, ["read_model/mod.rs imports nats"]);

    let imports = tree(&[
        ("lib.rs", "pub mod http;"),
        ("http/mod.rs", "pub mod orders; use orders::list;"),
        ("http/orders/mod.rs", "pub mod list;"),
        ("http/orders/list.rs", ""),
    ])
    .imports();
    assert!(
        imports
            .iter()
            .any(|import| import.origin == "http/orders/list.rs")
    );
}

#[test]
fn a_module_without_a_rule_may_import_nothing() {
    let broken = broken_by("extra.rs", "use crate::order::Order;");

    assert!(
        broken.contains(&"extra.rs imports order".to_owned()),
        "{broken:?}"
    );
}

fn cycles_with(one: &str, other: &str) -> BTreeSet<BTreeSet<String>> {
    cycles(&tree(&[
        ("lib.rs", "pub mod a; pub mod b;"),
        (
            "a/mod.rs",
            "mod one; mod other; pub use other::Other; pub struct A; use one::One;",
        ),
        ("a/one.rs", one),
        ("a/other.rs", other),
        ("b/mod.rs", "pub mod part;"),
        ("b/part.rs", "use crate::a::Other;"),
    ]))
}

#[test]
fn files_that_import_each_other_are_found() {
    let both = BTreeSet::from(["a/one.rs", "a/other.rs"].map(str::to_owned));

    for one in [
        "use super::other::Other;",
        "use super::Other;",
        "use crate::a::{A, Other};",
        "struct One(crate::a::other::Other);",
    ] {
        let cycles = cycles_with(one, "use super::one::One;");

        assert_eq!(cycles, BTreeSet::from([both.clone()]), "{one}");
    }
}

#[test]
fn folders_that_import_each_other_are_found() {
    let cycles = cycles_with("use crate::b::part;", "");

    let both = BTreeSet::from(["a", "b"].map(str::to_owned));
    assert_eq!(cycles, BTreeSet::from([both]));
}

#[test]
fn a_file_may_use_what_its_folder_defines_and_a_test_may_use_all() {
    let test = "#[cfg(test)] mod tests { use super::super::one::One; }";

    assert!(cycles_with("use super::A; use super::Other;", test).is_empty());
}

#[test]
fn identifiers_are_split_into_words() {
    assert_eq!(words("request_body"), ["request", "body"]);
    assert_eq!(words("HttpStatus"), ["", "http", "status"]);
}
