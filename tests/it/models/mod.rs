//! Property tests: long random histories, compared with models that are too simple to be wrong.

mod append;
mod orders;
