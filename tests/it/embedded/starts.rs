//! Starts that are refused, fail, or follow a failed one.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use orders::embedded::{Embedded, EmbeddedOptions, PrivateNats, PrivatePostgres};

use super::{connect, data_dir, recorded_pids};
use crate::support::connect_to_nats;

#[tokio::test]
async fn a_second_start_on_the_same_directory_is_refused() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let servers = Embedded::start(&options).await.unwrap();

    let refused = Embedded::start(&options).await.unwrap_err().to_string();

    let expected = format!("is in use by process {}", std::process::id());
    assert!(
        refused.starts_with("data directory ") && refused.ends_with(&expected),
        "{refused}"
    );
    servers.stop().await;
}

#[tokio::test]
async fn a_first_start_that_was_killed_begins_again() {
    let data = data_dir();
    let unfinished = data.path().join("postgres/data.unfinished");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("PG_VERSION"), "15").unwrap();

    let postgres = PrivatePostgres::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();

    connect(&postgres.database_url()).await;
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn the_error_of_a_server_that_ends_at_its_start_shows_its_log() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let mut postgres = PrivatePostgres::start(&options).await.unwrap();
    postgres.stop().await;
    let control = data.path().join("postgres/data/global/pg_control");
    std::fs::remove_file(control).unwrap();

    let error = postgres.restart().await.unwrap_err().to_string();

    assert!(
        error.starts_with("PostgreSQL ended with exit status"),
        "{error}"
    );
    assert!(error.contains("pg_control"), "{error}");
}

#[tokio::test]
async fn as_root_the_data_goes_elsewhere_if_postgresql_cannot_enter_the_directory() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let closed = std::fs::Permissions::from_mode(0o700);
    let data = tempfile::Builder::new()
        .permissions(closed)
        .tempdir()
        .unwrap();
    let options = EmbeddedOptions::new(data.path());

    let mut postgres = PrivatePostgres::start(&options).await.unwrap();
    connect(&postgres.database_url()).await;
    postgres.stop().await;
    drop(postgres);
    let mut again = PrivatePostgres::start(&options).await.unwrap();
    connect(&again.database_url()).await;
    again.stop().await;

    let home = std::fs::read_link(data.path().join("postgres")).unwrap();
    assert!(home.starts_with("/var/lib/orders"), "{}", home.display());
    std::fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn nats_refuses_a_program_that_does_not_know_the_password() {
    let data = data_dir();
    let mut nats = PrivateNats::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let url = std::fs::read_to_string(data.path().join("nats/url")).unwrap();
    let (_, address) = url.rsplit_once('@').unwrap();

    assert!(connect_to_nats(&url).await.is_ok());
    for wrong in ["", "orders:guessed@", "guessed@"] {
        let refused = connect_to_nats(&format!("nats://{wrong}{address}")).await;
        assert!(refused.is_err(), "{wrong:?}");
    }

    for file in ["url", "nats-server.conf"] {
        let mode = std::fs::metadata(data.path().join("nats").join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    nats.stop().await;
}

#[tokio::test]
async fn no_embedded_server_runs_as_root() {
    let data = data_dir();
    let servers = Embedded::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();

    for pid in recorded_pids(data.path()) {
        let owner = std::fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        assert_ne!(owner, 0, "process {pid}");
    }
    servers.stop().await;
}
