//! The commands in the README work as shown.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::TestApp;

/// The text of the fenced block `sh tour`.
fn tour() -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```sh tour\n").expect("a tour");
    let (tour, _) = rest.split_once("```").expect("an end");
    tour.to_owned()
}

#[tokio::test]
async fn the_tour_in_the_readme_works() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let script = tour().replace("http://127.0.0.1:8080", &app.url);
    assert!(script.contains(&app.url));
    // A script can be faster than the read model, so the test waits before the part that reads.
    let (before, after) = script.split_once("# Find it").expect("the part that reads");
    for part in [
        before.to_owned(),
        format!("{}# Find it{after}", exports(&script)),
    ] {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &part])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .await
            .expect("bash and curl");
        let (output_text, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{output_text}\n{errors}");
        app.wait_until_caught_up().await;
        if part.contains("# Find it") {
            assert!(output_text.contains("\"totalCount\":1"), "{output_text}");
            assert!(
                output_text.contains("event: OrderCompleted"),
                "{output_text}"
            );
            assert!(
                output_text.contains("\"code\":\"validation_failed\""),
                "{output_text}"
            );
        }
    }
    app.stop().await;
}

/// The variables that every part needs.
fn exports(script: &str) -> String {
    let lines = script.lines().filter(|line| line.starts_with("export "));
    lines.flat_map(|line| [line, "\n"]).collect()
}
