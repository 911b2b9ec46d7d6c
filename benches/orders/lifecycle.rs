//! Rows of the process: how soon it serves, and what it holds in memory.

use std::rc::Rc;

use super::{
    Bench,
    report::Report,
    scripts::Create,
    servers::Service,
    usage::{memory, peak_memory},
};

const START: &str = "start-up";
const CACHED: &str = "memory cached orders";
/// Over how many connections orders are created.
const CONNECTIONS: usize = 64;

/// The names of all rows.
pub fn names() -> Vec<String> {
    vec![START.to_owned(), CACHED.to_owned()]
}

/// Measures those that are asked for; the service is another one afterwards.
pub async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    if bench.options.wants(START) {
        for _ in 0..bench.options.rounds {
            restart(bench, &[]).await?;
            let milliseconds = bench.service.started_in.as_secs_f64() * 1000.0;
            report.add_alone(START, milliseconds, "ms");
        }
    }
    if bench.options.wants(CACHED) {
        let orders = bench.options.cached_orders;
        let limit = orders.to_string();
        restart(bench, &[("ORDERS_CACHED_ORDERS", &limit)]).await?;
        report.add_alone("memory at first", memory(bench.service.pid)?, "MB");
        let numbers = bench.next_order..bench.next_order + orders;
        let mut create = Create::new(Rc::clone(&bench.lines), numbers);
        bench
            .send(&bench.load(CONNECTIONS).until_the_end(), &mut create)
            .await?;
        bench.next_order = create.next;
        let name = format!("{CACHED}: {limit}");
        report.add_alone(&name, memory(bench.service.pid)?, "MB");
        let name = format!("{name}, peak");
        report.add_alone(&name, peak_memory(bench.service.pid)?, "MB");
    }
    Ok(())
}

/// A service with these settings in place of the one that runs.
async fn restart(bench: &mut Bench, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    bench.service.stop().await?;
    bench.service = Service::start(&bench.servers, variables).await?;
    Ok(())
}
