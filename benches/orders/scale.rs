//! Rows of larger installations: a second instance, a synchronous replica of the database, a NATS
//! cluster. All run on one machine, so the rows show what these cost, not what further machines gain.

use std::rc::Rc;

use super::{
    Bench,
    commands::Measured,
    replica::Replica,
    report::{Details, Figure, Report},
    scripts::AddItem,
    servers::Service,
};

#[path = "../../tests/it/nats/cluster.rs"]
#[expect(dead_code, reason = "some functions are only used by tests")]
mod cluster;

use cluster::Cluster;

/// How many connections send commands.
const CONNECTIONS: usize = 64;

const TWO: &str = "two instances@64";
const REPLICA: &str = "synchronous replica@64";
const CLUSTER: &str = "nats cluster@64";

/// The names of all rows.
pub fn names() -> Vec<String> {
    [TWO, REPLICA, CLUSTER].map(str::to_owned).to_vec()
}

/// Measures the wanted rows.
pub async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    if bench.options.only.is_empty() && !bench.options.has_further_servers {
        return Ok(());
    }
    let is_wanted = |name| bench.options.wants(name);
    let [two, replica, cluster] = [TWO, REPLICA, CLUSTER].map(is_wanted);
    if two {
        bench.renew_orders().await?;
        two_instances(bench, report).await?;
    }
    if replica || cluster {
        let mut other = Bench::start(bench.options.clone(), Rc::clone(&bench.lines)).await?;
        other.renew_orders().await?;
        if replica {
            synchronous_replica(&mut other, report).await?;
        }
        if cluster {
            bench.renew_orders().await?;
            nats_cluster(bench, &mut other, report).await?;
        }
        other.stop().await?;
    }
    Ok(())
}

/// One instance and two instances, in turn. Each instance has its own connections and orders, as behind
/// a load balancer that sends all commands of an order to the same instance. The caches are warm.
async fn two_instances(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    let middle = bench.orders.start.midpoint(bench.orders.end);
    let script = |orders| AddItem::new(orders, Rc::clone(&bench.bodies), CONNECTIONS, false);
    let (orders_of_one, orders_of_two) = (bench.orders.start..middle, middle..bench.orders.end);
    let mut second = Service::start(&bench.servers, &[]).await?;
    let one = bench.load(CONNECTIONS);
    let mut two = one.clone();
    two.addresses.push(second.address);
    bench.send(&two, &mut script(orders_of_two.clone())).await?;
    for _ in 0..bench.options.rounds {
        let alone = bench.send(&one, &mut script(orders_of_one.clone())).await?;
        let both = bench.send(&two, &mut script(orders_of_two.clone())).await?;
        add(report, TWO, "one instance", &both, &alone);
    }
    second.stop().await
}

/// Commits that wait for the primary only, then also for the standby; and the floor with a synchronous
/// standby.
async fn synchronous_replica(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    let replica = Replica::start(&bench.servers).await?;
    for _ in 0..bench.options.rounds {
        bench.renew_grown_orders().await?;
        let alone = bench.add_items().await?;
        replica.set_synchronous(true).await?;
        let both = bench.add_items().await?;
        let floor = bench
            .floors
            .load_and_insert(CONNECTIONS, bench.options.duration)?;
        replica.set_synchronous(false).await?;
        add(report, REPLICA, "asynchronous", &both, &alone);
        let figure = Figure {
            value: both.run.rate(),
            unit: "/s",
            floor: "1b, as synchronous",
            floor_value: floor.rate,
        };
        report.add(&format!("{REPLICA} floor"), figure, Details::default());
    }
    Ok(())
}

/// One nats-server, then three that each keep a copy. The second service has its own database.
async fn nats_cluster(
    bench: &mut Bench,
    other: &mut Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    other.service.stop().await?;
    let settings = [("NATS_URL", &*cluster.url()), ("ORDERS_NATS_REPLICAS", "3")];
    other.service = Service::start(&other.servers, &settings).await?;
    for _ in 0..bench.options.rounds {
        bench.renew_grown_orders().await?;
        other.renew_grown_orders().await?;
        let one = bench.add_items().await?;
        let three = other.add_items().await?;
        add(report, CLUSTER, "one nats-server", &three, &one);
    }
    Ok(())
}

impl Bench {
    /// Adds lines to the current orders, for the duration of one measurement.
    async fn add_items(&mut self) -> anyhow::Result<Measured> {
        let mut script = self.add_item(CONNECTIONS, false);
        let measured = self.send(&self.load(CONNECTIONS), &mut script).await?;
        self.added += measured.run.micros.len();
        Ok(measured)
    }
}

/// Adds the rows of one kind: commands answered, and commands projected.
fn add(report: &mut Report, name: &str, floor: &'static str, figure: &Measured, base: &Measured) {
    let row = |value, floor_value| Figure {
        value,
        unit: "/s",
        floor,
        floor_value,
    };
    let details = Details::of_latencies(&figure.run.micros);
    report.add(name, row(figure.run.rate(), base.run.rate()), details);
    report.add(
        &format!("{name} sustained"),
        row(figure.sustained(), base.sustained()),
        Details::default(),
    );
}
