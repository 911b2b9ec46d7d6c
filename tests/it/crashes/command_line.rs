//! Exit statuses and error messages of the program.

use std::{collections::BTreeSet, net::TcpListener};

use sqlx::{Connection, PgConnection};

use crate::support::{
    servers::{fresh_database, servers, url_of_database},
    service::orders,
};

#[tokio::test]
async fn bad_configuration_ends_with_status_2_and_every_problem() {
    let bad = [
        ("DATABASE_URL", "mysql://localhost/orders"),
        ("ORDERS_LISTEN", "everywhere"),
        ("ORDERS_DEFAULT_CURRENCY", "QQQ"),
        ("ORDERS_LOG", "loud"),
        ("RUST_LOG", "orders=shouting"),
        ("ORDERS_CORS_ORIGINS", "shop.example"),
        ("ORDERS_RATE_LIMIT", "fast"),
        ("ORDERS_NATS_STREAM", "EVENTS OF ORDERS"),
        ("ORDERS_NATS_PREFIX", "events.>"),
        ("ORDERS_NATS_REPLICAS", "6"),
        ("ORDERS_REQUEST_TIMEOUT", "0"),
        ("ORDERS_IDEMPOTENCY_HOURS", "a day"),
        ("ORDERS_SNAPSHOT_EVERY", "0"),
        ("ORDERS_WRITE_QUEUE", "-1"),
        ("ORDERS_CACHED_ORDERS", "many"),
        ("ORDERS_DATABASE_CONNECTIONS", "1"),
        ("DATABASE_READ_URL", "postgres://localhost:port/orders"),
    ];

    let ended = orders(&["serve"], &bad).await;

    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!(ended.stdout, b"");
    let stderr = String::from_utf8(ended.stderr).unwrap();
    // One line for each problem, and one more because NATS_URL is missing.
    let problems: Vec<&str> = stderr.lines().skip(1).collect();
    let names = |name: &str| {
        problems
            .iter()
            .any(|line| line.contains(&format!("- {name}")))
    };
    let unnamed: Vec<_> = bad.iter().filter(|(name, _)| !names(name)).collect();
    assert!(unnamed.is_empty(), "{unnamed:?} not named in {stderr}");
    assert!(stderr.contains("NATS_URL is not: set both"), "{stderr}");
    assert_eq!(problems.len(), bad.len() + 1, "{stderr}");
}

#[tokio::test]
async fn several_nats_servers_are_checked_one_by_one() {
    let cluster = [
        ("DATABASE_URL", "postgres://localhost/orders"),
        ("NATS_URL", "nats://one:4222, nats://two:port"),
    ];
    let ended = orders(&["serve"], &cluster).await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{stderr}");
    assert_eq!(
        stderr.matches("NATS_URL is not a NATS URL").count(),
        1,
        "{stderr}"
    );

    let ended = orders(&["serve"], &[("ORDERS_NATS_REPLICAS", "3")]).await;
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("ORDERS_NATS_REPLICAS is 3"), "{stderr}");
}

#[tokio::test]
async fn an_address_that_other_machines_can_reach_needs_orders_auth() {
    let ended = orders(&["serve", "--listen", "0.0.0.0:0"], &[]).await;

    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(
        stderr.contains("ORDERS_AUTH") && stderr.contains("0.0.0.0:0"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_taken_port_ends_with_status_1() {
    let (_, name) = fresh_database().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = [
        ("DATABASE_URL", &*url_of_database(&name)),
        ("NATS_URL", &*servers().nats_url),
        ("ORDERS_LISTEN", &*address),
    ];

    let ended = orders(&["serve"], &settings).await;

    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(
        stderr.contains(&format!("cannot listen on {address}")),
        "{stderr}"
    );
}

/// The fourteen migrations of 0.1 had other checksums than the baseline of 0.2.0.
#[tokio::test]
async fn a_database_from_before_the_first_release_is_refused_at_once() {
    let (options, name) = fresh_database().await;
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "truncate _sqlx_migrations;
         insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         select n, 'of 0.1', true, sha384(n::text::bytea), 0 from generate_series(1, 14) n",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let settings = [
        ("DATABASE_URL", &*url_of_database(&name)),
        ("NATS_URL", &*servers().nats_url),
        ("ORDERS_LISTEN", "127.0.0.1:0"),
    ];

    for (command, settings) in [("serve", &settings[..]), ("migrate", &settings[..1])] {
        let ended = orders(&[command], settings).await;

        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert!(
            stderr.contains("before 0.2.0, the first release"),
            "{stderr}"
        );
        assert!(stderr.contains("ORDERS_DATA_DIR"), "{stderr}");
        assert!(!stderr.contains("waiting for PostgreSQL"), "{stderr}");
    }
}

/// Takes half a minute, without work for the processors.
#[tokio::test]
async fn a_postgresql_that_never_answers_ends_with_status_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = [
        (
            "DATABASE_URL",
            &*format!("postgres://orders:secret@{address}/orders"),
        ),
        ("NATS_URL", &*servers().nats_url),
        ("ORDERS_LISTEN", "127.0.0.1:0"),
    ];

    let ended = orders(&["serve"], &settings).await;

    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.contains("PostgreSQL does not answer"), "{stderr}");
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[tokio::test]
async fn help_names_the_environment_variable_of_every_setting() {
    // Options of a single run, which are not settings of the service.
    let run_options: BTreeSet<&str> = [
        "--help",
        "--version",
        "--full",
        "--dry-run",
        "--repair",
        "--strict",
        "--rejects",
        "--status",
        "--source",
        "--currency",
        "--default-customer",
        "--order-column",
        "--customer-column",
        "--product-column",
        "--quantity-column",
        "--price-column",
    ]
    .into();

    for command in [
        &["serve"][..],
        &["migrate"],
        &["replay"],
        &["verify"],
        &["import"],
        &["parked", "list"],
        &["parked", "retry"],
        &["openapi"],
    ] {
        let shown = orders(&[command, &["--help"]].concat(), &[]).await;
        assert_eq!(shown.status.code(), Some(0), "{command:?}");
        let text = String::from_utf8(shown.stdout).unwrap();
        let settings: Vec<String> = options_of(&text)
            .into_iter()
            .filter(|option| {
                !option
                    .split_whitespace()
                    .any(|word| run_options.contains(word))
            })
            .collect();
        let unnamed: Vec<_> = settings
            .iter()
            .filter(|text| !text.contains("[env: "))
            .collect();
        assert!(unnamed.is_empty(), "{command:?}: {unnamed:?}");
        assert_eq!(settings.is_empty(), command == ["openapi"], "{command:?}");
    }
}

/// The options in a help text, each with its text in one line.
fn options_of(help: &str) -> Vec<String> {
    let (_, text) = help.split_once("Options:\n").unwrap();
    let mut options: Vec<String> = vec![];
    for line in text.lines().map(str::trim) {
        match options.last_mut() {
            Some(option) if !line.starts_with("--") && !line.contains(", --") => {
                option.push(' ');
                option.push_str(line);
            }
            _ => options.push(line.to_owned()),
        }
    }
    options
}
