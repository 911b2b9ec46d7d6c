//! The configuration: clap reads it from flags and environment variables ([`args`]), [`validation`]
//! checks it and reports all problems at once, [`settings`] is the result. Settings that only one
//! command has (such as the columns of an import) do not belong here.

pub mod args;
pub mod settings;
pub mod validation;
mod web_names;

pub use args::{LogArgs, ServeArgs, StoreArgs};
pub use settings::{Config, ConfigProblems, Servers};
