//! `make bench`: what the service gives, each figure beside its floor.
//!
//! Starts its own PostgreSQL and NATS through the embedded module and the real program beside them,
//! fills a store with real order lines, measures each row and its floor by turns, and prints one
//! table of ratios. It fails on errors, never on speed. Only ratios within one run mean anything:
//! machines differ, and so do moments.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark talks to the database directly, and to people, in rounded numbers"
)]

mod commands;
mod floors;
mod load;
mod options;
mod reads;
mod report;
mod retail;
mod scripts;
mod servers;
mod targets;
mod usage;

use std::{path::Path, rc::Rc};

use anyhow::Context;
use uuid::Uuid;

use floors::Floors;
use options::Options;
use report::Report;
use retail::Line;
use scripts::Create;
use servers::{Servers, Service};

/// How many lines an order gets on average before the commands go to new ones: orders stay as
/// small as they are in life.
const ADDED_LINES: usize = 10;
/// Over how many connections the store is filled.
const FILLING: usize = 64;

/// What the measurements work on.
struct Bench {
    options: Options,
    servers: Servers,
    service: Service,
    floors: Floors,
    /// Real order lines, and each as the body of a command.
    lines: Rc<[Line]>,
    bodies: Rc<[String]>,
    /// The orders that commands and reads are spread over.
    orders: Rc<[Uuid]>,
    /// Lines added to them so far.
    added: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    if options.is_list {
        for name in commands::names().iter().chain(&reads::names()) {
            println!("{name}");
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let service = Service::start(&servers, &[]).await?;
    let lines: Rc<[Line]> = retail::lines()?.into();
    let mut bench = Bench {
        floors: Floors::prepare(&servers).await?,
        options,
        bodies: lines.iter().map(Line::json).collect(),
        lines,
        orders: Rc::new([]),
        added: 0,
        servers,
        service,
    };
    let mut report = Report::default();
    let measured = measure(&mut bench, &mut report).await;
    println!("\n{}", report.table());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench/orders.json");
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(&file, report.json()).context("the report cannot be written")?;
    println!("also in target/bench/orders.json");
    let stopped = bench.service.stop().await;
    bench.servers.stop().await;
    measured.and(stopped)
}

async fn measure(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    bench.renew_orders().await?;
    commands::measure(bench, report).await?;
    reads::measure(bench, report)?;
    let peak = usage::peak_memory(bench.service.pid)?;
    report.add_alone("service peak memory", peak, "MB");
    Ok(())
}

impl Bench {
    /// Makes new orders to work on, through the service, and as many streams for the floor.
    async fn renew_orders(&mut self) -> anyhow::Result<()> {
        let after = self.last_position().await?;
        let lines = Rc::clone(&self.lines);
        let mut create = Create::new(&lines, self.options.orders, false);
        self.send(FILLING, None, &mut create).await?;
        self.orders = create.made.into();
        self.added = 0;
        self.floors.fill(&self.servers.pool, after).await
    }

    async fn renew_orders_where_grown(&mut self) -> anyhow::Result<()> {
        if self.added > ADDED_LINES * self.orders.len() {
            self.renew_orders().await?;
        }
        Ok(())
    }
}
