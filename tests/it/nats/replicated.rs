//! A stream with a copy on each of three servers.

use orders::nats::{EventStream, NatsOptions, connect};

use super::{
    cluster::Cluster,
    support::{Ledger, Log, filled, run_relay, run_subscriber},
};

#[tokio::test]
async fn the_leader_may_die_and_come_back_while_events_flow() {
    let mut cluster = Cluster::start().unwrap();
    let options = NatsOptions {
        replicas: 3,
        ..NatsOptions::new(cluster.url())
    };
    let stream = EventStream::new(connect(&options).await.unwrap(), options);
    let log = Log::default();
    let ledger = Ledger::new(&log);
    let relay = run_relay(stream.clone(), &log, &ledger);
    let subscriber = run_subscriber(stream.clone(), &ledger);

    log.append(300, 10);
    ledger.caught_up().await;
    let state = stream.context().get_stream("EVENTS").await.unwrap();
    let info = state.cached_info().cluster.clone().unwrap();
    let leader = info.leader.unwrap();
    assert_eq!(info.replicas.len(), 2);

    let index = leader.rsplit_once('-').unwrap().1.parse().unwrap();
    cluster.kill(index).unwrap();
    log.append(300, 10);
    ledger.caught_up().await;
    cluster.restart(index).unwrap();
    log.append(300, 10);
    ledger.caught_up().await;

    filled(&stream, &log).await;
    relay.stop().await;
    subscriber.stop().await;
}
