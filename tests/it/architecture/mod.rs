//! The rules of the source tree, checked on the parsed sources: which module may import which, no
//! files that import each other, no HTTP words in the generic core.

mod source_file;
mod source_tree;
mod specs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::LazyLock,
};

use self::source_tree::SourceTree;

/// Which modules each module at the top of `src` may import. Only the composition root (`app`), the
/// command line and the crate roots may see all.
const RULES: &[(&str, Allowed)] = &[
    ("event_sourcing", Allowed::Only(&[])),
    ("live", Allowed::Only(&["event_sourcing"])),
    ("order", Allowed::Only(&["event_sourcing"])),
    ("sql", Allowed::Only(&["event_sourcing"])),
    (
        "postgres",
        Allowed::Only(&["event_sourcing", "live", "sql"]),
    ),
    ("nats", Allowed::Only(&["event_sourcing", "live"])),
    (
        "read_model",
        Allowed::Only(&["event_sourcing", "order", "sql"]),
    ),
    (
        "http",
        Allowed::Only(&["event_sourcing", "live", "order", "read_model"]),
    ),
    ("embedded", Allowed::Only(&[])),
    ("app", Allowed::AllBut("cli")),
    ("cli", Allowed::All),
    ("main", Allowed::All),
    ("lib", Allowed::All),
];

/// Words that belong to `http` and not to the generic core.
const HTTP_WORDS: &[&str] = &["status", "location", "body", "header", "headers", "http"];

/// Files that hold parts of several folders for the use of all of them, as a `mod.rs` may: here the
/// state of the handlers. Only cycles of single files count for them.
const SHARED: &[&str] = &["http/api.rs"];

#[derive(Debug, Clone, Copy)]
enum Allowed {
    Only(&'static [&'static str]),
    AllBut(&'static str),
    All,
}

impl Allowed {
    fn allows(self, module: &str) -> bool {
        match self {
            Self::Only(modules) => modules.contains(&module),
            Self::AllBut(module_refused) => module != module_refused,
            Self::All => true,
        }
    }
}

/// The sources of `src`, parsed once for all tests.
fn sources() -> &'static SourceTree {
    static SOURCES: LazyLock<SourceTree> =
        LazyLock::new(|| SourceTree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    &SOURCES
}

/// The module at the top of `src` that a file belongs to.
fn top_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.trim_end_matches(".rs")
}

/// The imports that the rules do not allow.
fn broken_rules(tree: &SourceTree) -> Vec<String> {
    let rules: BTreeMap<&str, Allowed> = RULES.iter().copied().collect();
    let mut broken = vec![];
    for import in tree.imports() {
        let module = top_of(&import.file);
        // A re-export must not hide where a thing comes from.
        for named in [import.named.as_str(), top_of(&import.origin)] {
            let is_allowed = rules.get(module).is_some_and(|rule| rule.allows(named));
            if named != module && named != "lib" && !is_allowed {
                broken.push(format!("{} imports {named}", import.file));
            }
        }
    }
    broken.dedup();
    broken
}

/// Which units import which.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Files that import each other, directly or through others, and folders that do. Tests do not count:
/// they may use everything. The items of a folder's own `mod.rs` do not count either: a folder and its
/// `mod.rs` are one unit.
fn cycles(tree: &SourceTree) -> BTreeSet<BTreeSet<String>> {
    let (mut of_files, mut of_folders) = (Imports::new(), Imports::new());
    for import in tree.imports().into_iter().filter(|import| !import.is_test) {
        if let Some((from, to)) = siblings(&import.file, &import.origin) {
            of_files
                .entry(import.file)
                .or_default()
                .insert(import.origin);
            if !SHARED.contains(&from.as_str()) && !SHARED.contains(&to.as_str()) {
                of_folders.entry(from).or_default().insert(to);
            }
        }
    }
    let mut cycles = cycles_of(&of_files);
    cycles.extend(cycles_of(&of_folders));
    cycles
}

/// The groups of units in which each reaches each other.
fn cycles_of(imports: &Imports) -> BTreeSet<BTreeSet<String>> {
    let reached_from = |unit: &String| {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = imports[unit].iter().collect();
        while let Some(unit) = next.pop() {
            if reached.insert(unit.clone()) {
                next.extend(imports.get(unit).into_iter().flatten());
            }
        }
        reached
    };
    let reached: Imports = imports
        .keys()
        .map(|unit| (unit.clone(), reached_from(unit)))
        .collect();
    let leads_to =
        |from: &String, to: &String| reached.get(from).is_some_and(|units| units.contains(to));
    let in_a_cycle = imports.keys().filter(|unit| leads_to(unit, unit));
    let cycle = |unit: &String| {
        let both_ways = reached[unit].iter().filter(|other| leads_to(other, unit));
        both_ways.cloned().collect()
    };
    in_a_cycle.map(cycle).collect()
}

/// The two files or folders of the same folder that an import connects. `None` if one of them is the
/// `mod.rs` (or `lib.rs`) of that folder.
fn siblings(from: &str, to: &str) -> Option<(String, String)> {
    let (mut from, mut to) = (from.split('/'), to.split('/'));
    let mut folder = String::new();
    loop {
        let (one, other) = (from.next()?, to.next()?);
        if one != other {
            let is_folders_own = |name| name == "mod.rs" || name == "lib.rs";
            return (!is_folders_own(one) && !is_folders_own(other))
                .then(|| (format!("{folder}{one}"), format!("{folder}{other}")));
        }
        folder = format!("{folder}{one}/");
    }
}

/// The words of an identifier: `RequestBody` and `request_body` have two.
fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in identifier.chars() {
        if c == '_' || c.is_ascii_uppercase() {
            words.push(String::new());
        }
        if c != '_' {
            words
                .last_mut()
                .expect("a word")
                .push(c.to_ascii_lowercase());
        }
    }
    words
}

#[test]
fn every_module_has_a_rule() {
    let known: BTreeSet<String> = RULES.iter().map(|(name, _)| (*name).to_owned()).collect();

    assert_eq!(sources().top(), known);
}

#[test]
fn modules_import_only_what_the_rules_allow() {
    let broken = broken_rules(sources());

    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_files_import_each_other() {
    let cycles = cycles(sources());

    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn the_core_knows_no_http_word() {
    let tree = sources();
    let identifiers = tree.identifiers("event_sourcing/");
    let found: BTreeSet<_> = identifiers
        .filter(|(_, identifier)| {
            let words = words(identifier);
            words.iter().any(|word| HTTP_WORDS.contains(&word.as_str()))
        })
        .collect();

    assert!(found.is_empty(), "{found:#?}");
}
