//! The command line: its arguments, the commands that work beside the service, and their progress.
//! What serves requests does not belong here.

pub mod arguments;
pub mod import;
pub mod maintenance;
pub mod progress;

pub use arguments::{
    Cli, Command, ImportArgs, ImportStatus, ParkedAction, ParkedArgs, ReplayArgs, VerifyArgs,
};
