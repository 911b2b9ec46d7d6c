//! A NATS that is away, or that does not take the events of this store.

use orders::app::config::Servers;

use super::{place, wait_for, wait_until_ok};
use crate::support::{
    TestApp,
    proxy::{Mode, Proxy},
    servers::servers,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_nats_is_degraded_on_every_instance_and_commands_go_on() {
    let (nats, through) = Proxy::to_nats(&servers().nats_url);
    let mut app = TestApp::start_with(|config| {
        let Servers::Given { nats_url, .. } = &mut config.servers else {
            unreachable!("tests use given servers");
        };
        *nats_url = through;
    })
    .await;
    wait_until_ok(&app).await;
    // The second instance has NATS, but the first one holds the relay's lease.
    app.config.servers = Servers::Given {
        database_url: app.database_url.clone(),
        nats_url: servers().nats_url.clone(),
    };
    let second = app.second().await;
    wait_until_ok(&second).await;

    nats.set(Mode::Refuse);
    assert_eq!(place(&app).await.status, 201);

    wait_for(&app, "nats", "degraded", "not connected").await;
    for instance in [&app, &second] {
        wait_for(instance, "relay", "degraded", "has failed for ").await;
        wait_for(instance, "relay", "degraded", "the stream is 1 events and ").await;
    }
    wait_for(&second, "nats", "ok", "connected").await;
    assert_eq!(place(&app).await.status, 201);
    nats.set(Mode::Pass);
    for instance in [&app, &second] {
        wait_until_ok(instance).await;
    }
    second.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_another_store_is_named_on_every_instance() {
    let owner = TestApp::start().await;
    wait_until_ok(&owner).await;
    let app = TestApp::start_with(|config| {
        config.nats_stream.clone_from(&owner.config.nats_stream);
        config.nats_prefix.clone_from(&owner.config.nats_prefix);
    })
    .await;
    let second = app.second().await;

    for instance in [&app, &second] {
        wait_for(instance, "relay", "degraded", "belongs to the event store").await;
        wait_for(instance, "nats", "ok", "connected").await;
    }
    second.stop().await;
    app.stop().await;
    owner.stop().await;
}
