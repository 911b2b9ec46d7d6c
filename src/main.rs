//! The `orders` program: reads the command line and hands over to the library.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use orders::{
    app::{self, App},
    cli::{Cli, Command},
    config::{ConfigProblems, LogArgs, ServeArgs, StoreArgs},
    http,
    shutdown::Signals,
    telemetry,
};
use tracing::error;

/// Bad configuration.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("no runtime")),
    };
    let done = match cli.command {
        Command::Serve(args) => runtime.block_on(serve(&args)),
        Command::Migrate(args) => runtime.block_on(migrate(&args)),
        Command::Openapi => print_openapi(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(problems) = error.downcast_ref::<ConfigProblems>() {
        let _ = writeln!(std::io::stderr(), "orders: {problems}");
        return ExitCode::from(EXIT_CONFIG);
    }
    error!("{error:#}");
    let _ = writeln!(std::io::stderr(), "orders: {error:#}");
    ExitCode::FAILURE
}

fn init_logs(args: &LogArgs) -> anyhow::Result<()> {
    let filter = args.filter.as_deref();
    telemetry::init_logs(args.format()?, filter)
        .map_err(|error| ConfigProblems(vec![format!("RUST_LOG: {error}")]).into())
}

async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let config = args.judge()?;
    init_logs(&args.store.log)?;
    let signals = Signals::listen().context("signals cannot be listened to")?;
    let stop = signals.first();
    tokio::pin!(stop);
    let app = tokio::select! {
        app = App::start(config) => app?,
        () = &mut stop => return Ok(()),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", app.address())?;
    stdout.flush()?;
    app.run_until(stop).await
}

async fn migrate(args: &StoreArgs) -> anyhow::Result<()> {
    init_logs(&args.log)?;
    app::migrate(args).await
}

fn print_openapi() -> anyhow::Result<()> {
    let document = http::openapi().to_pretty_json()?;
    writeln!(std::io::stdout(), "{document}")?;
    Ok(())
}
