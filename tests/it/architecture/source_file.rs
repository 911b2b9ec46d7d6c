//! Reads one source file: the paths that it names, and in which module.

use std::collections::HashMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, File, Ident, ItemMod, ItemUse, Macro, Path, UseTree,
    visit::{self, Visit},
};

/// The segments of a path, or of a module's place below `src`.
pub type Segments = Vec<String>;

/// A module: a file, or an inline `mod name { … }`.
#[derive(Debug, Default)]
pub struct Module {
    /// The names that `use` brings into it, with the paths that they stand for.
    pub names: HashMap<String, Segments>,
    /// The paths that it imports whole, with `*`.
    pub globs: Vec<Segments>,
    /// The names of the items that it defines.
    pub items: Vec<String>,
}

/// A path as it is written in a module.
#[derive(Debug)]
pub struct Reference {
    pub module: Segments,
    pub path: Segments,
    /// Whether only tests are compiled with it.
    pub is_test: bool,
}

/// What a source file says.
#[derive(Debug, Default)]
pub struct SourceFile {
    /// Its modules: the file itself and those inside it.
    pub modules: HashMap<Segments, Module>,
    pub references: Vec<Reference>,
    /// The modules in files of their own that only tests are compiled with.
    pub test_modules: Vec<Segments>,
    /// All identifiers.
    pub identifiers: Vec<String>,
    module: Segments,
    test_depth: usize,
}

impl SourceFile {
    /// Reads a file that is this module.
    pub fn read(module: Segments, file: &File) -> Self {
        let mut source = Self {
            module,
            ..Self::default()
        };
        source.current();
        source.visit_file(file);
        source
    }

    fn current(&mut self) -> &mut Module {
        self.modules.entry(self.module.clone()).or_default()
    }

    fn add(&mut self, path: Segments) {
        self.references.push(Reference {
            module: self.module.clone(),
            path,
            is_test: self.test_depth > 0,
        });
    }

    fn add_use(&mut self, tree: &UseTree, mut before: Segments) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_use(&path.tree, before);
            }
            UseTree::Name(name) if name.ident == "self" => self.add_name(None, before),
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.add_name(None, before);
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    before.push(rename.ident.to_string());
                }
                self.add_name(Some(rename.rename.to_string()), before);
            }
            UseTree::Glob(_) => {
                self.current().globs.push(before.clone());
                self.add(before);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, before.clone());
                }
            }
        }
    }

    fn add_name(&mut self, name: Option<String>, path: Segments) {
        if let Some(name) = name.or_else(|| path.last().cloned()) {
            self.current().names.insert(name, path.clone());
        }
        self.add(path);
    }

    /// Reads the paths in a macro's arguments: identifiers with `::` between them.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Segments = vec![];
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path));
                    }
                    self.identifiers.push(ident.to_string());
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                _ => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add_path(path);
    }

    /// A single identifier is a variable, or a name whose `use` was read.
    fn add_path(&mut self, path: Segments) {
        if path.len() > 1 {
            self.add(path);
        }
    }
}

impl<'ast> Visit<'ast> for SourceFile {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_test = is_test(&item.attrs);
        self.test_depth += usize::from(is_test);
        self.add_use(&item.tree, vec![]);
        self.test_depth -= usize::from(is_test);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let is_test = is_test(&item.attrs);
        let name = item.ident.to_string();
        self.module.push(name);
        if item.content.is_none() {
            if is_test {
                self.test_modules.push(self.module.clone());
            }
        } else {
            self.current();
            self.test_depth += usize::from(is_test);
            visit::visit_item_mod(self, item);
            self.test_depth -= usize::from(is_test);
        }
        self.module.pop();
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(name) = name {
            self.current().items.push(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments = path.segments.iter();
        self.add_path(segments.map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.add_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.identifiers.push(ident.to_string());
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}
