//! The command line: its arguments, the commands that work beside the service, and their progress.
//! Nothing that serves requests belongs here.

pub mod arguments;
pub mod commands;
pub mod import;
pub mod progress;

pub use arguments::{
    Cli, Command, ImportArgs, ImportStatus, ParkedAction, ParkedArgs, ReplayArgs, VerifyArgs,
};
