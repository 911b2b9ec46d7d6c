//! The fuzz target: passes bytes to all code that reads requests.
#![no_main]

#[path = "../read_request.rs"]
mod read_request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read_request::read(bytes));
