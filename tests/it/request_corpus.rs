//! Runs the corpus of the fuzz target: inputs that a fuzzer once found stay tested.

use std::{fs, path::Path};

#[path = "../../fuzz/read_request.rs"]
mod read_request;

#[test]
fn every_file_of_the_corpus_is_read_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read_request");
    let mut files = 0;
    for entry in fs::read_dir(corpus).expect("the corpus") {
        let bytes = fs::read(entry.expect("a file").path()).expect("bytes");

        read_request::read(&bytes);

        // Truncated inputs are read, too.
        for end in 0..bytes.len().min(200) {
            read_request::read(&bytes[..end]);
        }
        files += 1;
    }
    assert!(files >= 30, "{files} files");
}
