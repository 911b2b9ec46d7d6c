//! Rows of the process: how long it takes to start, and how much memory it needs.

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
/// How many connections create orders.
const CONNECTIONS: usize = 64;

/// The names of all rows.
pub fn names() -> Vec<String> {
    vec![START.to_owned(), CACHED.to_owned()]
}

/// Measures the wanted rows. Afterwards another service process runs.
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
        report.add_alone("memory after the start", memory(bench.service.pid)?, "MB");
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

/// Replaces the service by one with these settings.
async fn restart(bench: &mut Bench, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    bench.service.stop().await?;
    bench.service = Service::start(&bench.servers, variables).await?;
    Ok(())
}
