//! A stream with a copy on each of three servers.

use orders::nats::{EventStream, NatsOptions, connect};

use super::{
    cluster::Cluster,
    support::{RecordingProjection, TestStore, filled, run_relay, run_subscriber},
};

#[tokio::test]
async fn events_flow_while_the_leader_is_killed_and_restarted() {
    let mut cluster = Cluster::start().unwrap();
    let options = NatsOptions {
        replicas: 3,
        ..NatsOptions::new(cluster.url())
    };
    let stream = EventStream::new(connect(&options).await.unwrap(), options);
    let store = TestStore::default();
    let projection = RecordingProjection::new(&store);
    let relay = run_relay(stream.clone(), &store);
    let subscriber = run_subscriber(stream.clone(), &projection);

    store.append(300, 10);
    projection.caught_up().await;
    filled(&stream, &store).await;
    let state = stream.context().get_stream("EVENTS").await.unwrap();
    let info = state.cached_info().cluster.clone().unwrap();
    let leader = info.leader.unwrap();
    assert_eq!(info.replicas.len(), 2);

    let index = leader.rsplit_once('-').unwrap().1.parse().unwrap();
    cluster.kill(index).unwrap();
    store.append(300, 10);
    projection.caught_up().await;
    filled(&stream, &store).await;
    cluster.restart(index).unwrap();
    store.append(300, 10);
    projection.caught_up().await;

    filled(&stream, &store).await;
    relay.stop().await;
    subscriber.stop().await;
}
