//! All source files, and which of them each one imports.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use super::source_file::{Module, Reference, Segments, SourceFile};

/// How many re-exports of re-exports are followed.
const MAX_DEPTH: usize = 8;

/// The files below `src`, by their paths there.
#[derive(Debug, Default)]
pub struct SourceTree {
    files: BTreeMap<String, SourceFile>,
    modules: HashMap<Segments, Module>,
    /// The file of each module.
    file_of: HashMap<Segments, String>,
    test_modules: Vec<Segments>,
}

/// That one file names something of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub file: String,
    /// The module at the top of `src` that the path names as it is written.
    pub named: String,
    /// The file that defines what is named. A re-export is followed to its origin.
    pub origin: String,
    /// Whether only tests are compiled with it.
    pub is_test: bool,
}

impl SourceTree {
    /// Reads all files in a directory.
    pub fn read(directory: &Path) -> Self {
        let mut texts = vec![];
        collect(directory, "", &mut texts);
        Self::parse(&texts)
    }

    /// Parses files: pairs of path and text.
    pub fn parse(texts: &[(String, String)]) -> Self {
        let mut tree = Self::default();
        for (name, text) in texts {
            let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut source = SourceFile::read(module_of(name), &file);
            for module in source.modules.keys() {
                tree.file_of.insert(module.clone(), name.clone());
            }
            tree.modules.extend(std::mem::take(&mut source.modules));
            tree.test_modules.append(&mut source.test_modules);
            tree.files.insert(name.clone(), source);
        }
        tree
    }

    /// The names of the files and folders at the top of `src`, without `.rs`.
    pub fn top(&self) -> BTreeSet<String> {
        let files = self.files.keys();
        files
            .map(|file| file.split('/').next().unwrap_or(file))
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect()
    }

    /// The identifiers of all files in a folder: pairs of file and identifier.
    pub fn identifiers<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.files.iter();
        files
            .filter(move |(file, _)| file.starts_with(folder))
            .flat_map(|(file, source)| {
                let identifiers = source.identifiers.iter();
                identifiers.map(move |identifier| (file.as_str(), identifier.as_str()))
            })
    }

    /// Everything of ours that each file names outside itself.
    pub fn imports(&self) -> BTreeSet<Import> {
        let mut imports = BTreeSet::new();
        for (file, source) in &self.files {
            for reference in &source.references {
                let Some(path) = self.absolute(&reference.module, &reference.path, 0) else {
                    continue;
                };
                let Some(named) = path.first().filter(|name| self.is_module(name)) else {
                    continue;
                };
                let origin = self.origin(&path, 0);
                if origin != *file {
                    imports.insert(Import {
                        file: file.clone(),
                        named: named.clone(),
                        origin,
                        is_test: self.is_test(reference),
                    });
                }
            }
        }
        imports
    }

    fn is_module(&self, name: &str) -> bool {
        self.modules.contains_key(&vec![name.to_owned()])
    }

    fn is_test(&self, reference: &Reference) -> bool {
        let mut test_modules = self.test_modules.iter();
        reference.is_test || test_modules.any(|module| reference.module.starts_with(module))
    }

    /// A path from the crate's root on. `None` if it is not one of this crate.
    fn absolute(&self, module: &[String], path: &[String], depth: usize) -> Option<Segments> {
        let (first, rest) = path.split_first()?;
        let from = |base: &[String], rest: &[String]| Some([base, rest].concat());
        match first.as_str() {
            "crate" => return from(&[], rest),
            // The binary names the library by the crate's name.
            "orders" if module.first().is_some_and(|file| file == "main") => {
                return from(&[], rest);
            }
            "self" => return from(module, rest),
            "super" => {
                let (_, parent) = module.split_last()?;
                let supers = rest.iter().take_while(|name| *name == "super").count();
                let parent = &parent[..parent.len().checked_sub(supers)?];
                return from(parent, &rest[supers..]);
            }
            _ => {}
        }
        let child = [module, std::slice::from_ref(first)].concat();
        if self.modules.contains_key(&child) {
            return from(&child, rest);
        }
        // Some crates have the name of one of their modules: `use csv;` names itself.
        let is_itself = |named: &Segments| named.first() == Some(first);
        let here = self.modules.get(module)?;
        if depth > MAX_DEPTH || here.names.get(first).is_some_and(is_itself) {
            return None;
        }
        from(&self.imported(module, first, depth)?, rest)
    }

    /// The file that defines what an absolute path names.
    fn origin(&self, path: &[String], depth: usize) -> String {
        let is_module = |length: &usize| self.modules.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module).unwrap_or(0);
        let (module, rest) = path.split_at(length);
        if depth < MAX_DEPTH
            && let Some((name, rest)) = rest.split_first()
            && !self.modules[module].items.contains(name)
            && let Some(target) = self.imported(module, name, depth)
        {
            return self.origin(&[&target, rest].concat(), depth + 1);
        }
        self.file_of[module].clone()
    }

    /// The absolute path of a name that `use` brings into a module.
    fn imported(&self, module: &[String], name: &String, depth: usize) -> Option<Segments> {
        let here = &self.modules[module];
        if let Some(path) = here.names.get(name) {
            return self.absolute(module, path, depth + 1);
        }
        let globs = here.globs.iter();
        let globs = globs.filter_map(|glob| self.absolute(module, glob, depth + 1));
        let mut paths = globs.map(|glob| [glob, vec![name.clone()]].concat());
        paths.find(|path| {
            let module = &path[..path.len() - 1];
            let holds = |it: &Module| it.items.contains(name) || it.names.contains_key(name);
            self.modules.contains_key(path) || self.modules.get(module).is_some_and(holds)
        })
    }
}

/// The module of a file, by its path below `src`. The binary is a crate of its own.
fn module_of(file: &str) -> Segments {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" => vec![],
        path => path.split('/').map(str::to_owned).collect(),
    }
}

fn collect(directory: &Path, prefix: &str, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{name}/"), texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push((name, fs::read_to_string(&path).expect("a source file")));
        }
    }
}
