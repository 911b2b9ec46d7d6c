//! The import rules of the source tree, read from the sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Which of our modules each module may import.
const RULES: &[(&str, &[&str])] = &[
    ("event_sourcing", &[]),
    ("live", &["event_sourcing"]),
    ("order", &["event_sourcing"]),
    ("sql", &["event_sourcing"]),
    ("postgres", &["event_sourcing", "live", "sql"]),
    ("nats", &["event_sourcing", "live"]),
    ("read_model", &["event_sourcing", "order", "sql"]),
    ("http", &["event_sourcing", "live", "order", "read_model"]),
    ("embedded", &[]),
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The sources of a module: its folder, or its file.
fn sources_of(root: &Path, module: &str) -> Vec<PathBuf> {
    let folder = root.join(module);
    if folder.is_dir() {
        sources(&folder)
    } else {
        vec![folder.with_extension("rs")]
    }
}

/// The modules of ours that a source names: what follows `crate::`, braces included. Comments do
/// not count.
fn imports(source: &str) -> BTreeSet<String> {
    let code: Vec<_> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut named = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 && is_word(c) {
                    word.push(c);
                } else if depth == 0 && c == ',' {
                    word.clear();
                } else if depth == 0 && c == ':' && !word.is_empty() {
                    named.insert(std::mem::take(&mut word));
                    word.push('!');
                }
            }
        } else {
            named.insert(rest.chars().take_while(|c| is_word(*c)).collect());
        }
    }
    named
        .into_iter()
        .filter(|name| !name.contains('!'))
        .collect()
}

#[test]
fn modules_import_only_what_the_dependency_rule_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = vec![];
    for (module, allowed) in RULES {
        for path in sources_of(&root, module) {
            let source = fs::read_to_string(&path).expect("a source");
            for import in imports(&source) {
                if import != *module && !allowed.contains(&import.as_str()) {
                    broken.push(format!("{} imports {import}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let source = "// crate::comment::x\nuse crate::{\n  http::{self, Api},\n  order::Order,\n};\n\
                  fn f() { crate::nats::connect(); }";

    let named: Vec<_> = imports(source).into_iter().collect();

    assert_eq!(named, ["http", "nats", "order"]);
}
