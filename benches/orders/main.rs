//! `make bench`: how fast the service is, each figure compared with its floor.
//!
//! A *floor* is what the same machine and servers do without the service (see [`floors`]). The
//! benchmark starts a private PostgreSQL and NATS and the real program, fills a store with real
//! order lines, measures each row and its floor in turn, and prints one table of ratios. It fails
//! on errors, never on speed. Compare only ratios within one run: machines differ, and their load
//! changes.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark queries the database directly and prints rounded numbers"
)]

mod commands;
mod floors;
mod lifecycle;
mod load;
mod options;
mod reads;
mod replica;
mod report;
mod retail;
mod scale;
mod scripts;
mod servers;
mod store;
mod streams;
mod targets;
mod usage;
mod visibility;

use std::{fs, ops::Range, path::Path, rc::Rc};

use anyhow::Context;

use floors::Floors;
use options::Options;
use report::Report;
use retail::Line;
use scripts::Create;
use servers::{Servers, Service};
use usage::Usage;

/// How many lines are added to an order on average before new orders are used: orders stay as small
/// as real ones.
const ADDED_LINES: usize = 10;
/// How many connections fill the store.
const FILLING: usize = 64;
/// The JSON report, relative to `target/tmp`.
const JSON: &str = "../bench/orders.json";

/// The servers, the service and the orders that the measurements use.
struct Bench {
    options: Options,
    servers: Servers,
    service: Service,
    floors: Floors,
    /// Real order lines, and for each the body of a command.
    lines: Rc<[Line]>,
    bodies: Rc<[String]>,
    /// The numbers of the orders that commands and reads are spread over.
    orders: Range<u64>,
    /// How many lines were added to them so far.
    added: usize,
    /// The number of the next order.
    next_order: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    if options.is_list {
        let names = [
            commands::names(),
            reads::names(),
            visibility::names(),
            store::names(),
            lifecycle::names(),
            scale::names(),
        ];
        for name in names.concat() {
            println!("{name}");
        }
        return Ok(());
    }
    // The tasks that supervise the servers need a thread; the load generator uses the main one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let mut bench = Bench::start(options, retail::lines()?.into()).await?;
    let mut report = Report::default();
    let before = bench.usage()?;
    let measured = measure(&mut bench, &mut report).await;
    report.others = bench.usage()?.since(before).others;
    println!("\n{}", report.table());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(JSON);
    fs::create_dir_all(file.parent().context("a folder")?)?;
    fs::write(&file, report.json()).context("the report cannot be written")?;
    measured.and(bench.stop().await)
}

async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    bench.renew_orders().await?;
    commands::measure(bench, report).await?;
    reads::measure(bench, report)?;
    visibility::measure(bench, report).await?;
    let peak = usage::peak_memory(bench.service.pid)?;
    report.add_alone("service peak memory", peak, "MB");
    store::measure(bench, report).await?;
    lifecycle::measure(bench, report).await?;
    scale::measure(bench, report).await?;
    bench.caught_up().await?;
    servers::verify(&bench.servers).await
}

impl Bench {
    /// Starts servers, and a service that uses them.
    async fn start(options: Options, lines: Rc<[Line]>) -> anyhow::Result<Self> {
        let servers = Servers::start().await?;
        Ok(Self {
            service: Service::start(&servers, &[]).await?,
            floors: Floors::new(&servers)?,
            options,
            bodies: lines.iter().map(Line::json).collect(),
            lines,
            orders: 0..0,
            added: 0,
            next_order: 0,
            servers,
        })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let stopped = self.service.stop().await;
        self.servers.stop().await;
        stopped
    }

    /// What has been used so far.
    fn usage(&self) -> anyhow::Result<Usage> {
        self.servers.usage(&self.service)
    }

    /// Creates new orders through the service, and the same streams for the floor.
    async fn renew_orders(&mut self) -> anyhow::Result<()> {
        let orders = self.next_order..self.next_order + self.options.orders;
        let mut create = Create::new(Rc::clone(&self.lines), orders.clone());
        self.send(&self.load(FILLING).until_the_end(), &mut create)
            .await?;
        self.next_order = orders.end;
        self.orders = orders.clone();
        self.added = 0;
        self.floors.fill(&self.servers.pool, orders).await
    }

    /// Creates new orders once many lines were added to the current ones.
    async fn renew_grown_orders(&mut self) -> anyhow::Result<()> {
        if self.added > ADDED_LINES * self.options.orders as usize {
            self.renew_orders().await?;
        }
        Ok(())
    }
}
