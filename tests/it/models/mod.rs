//! Long made-up histories beside models that are too simple to be wrong.

mod append;
mod orders;
