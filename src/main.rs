//! The `orders` program: reads the command line and hands over to the library.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use orders::{
    app::{
        App,
        config::{ConfigProblems, LogArgs, ServeArgs, StoreArgs},
        signals::Signals,
        telemetry,
    },
    cli::{
        Cli, Command, ParkedAction,
        maintenance::{self, Outcome},
    },
    http,
};
use tracing::error;

/// Requests and events are many small values that one thread makes and another drops, which glibc's
/// allocator pays for with locks and scattered memory: a sixth of the service's time in a profile.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        Command::Migrate(args) => runtime.block_on(work(&args, maintenance::migrate(&args))),
        Command::Replay(args) => runtime.block_on(work(&args.store, maintenance::replay(&args))),
        Command::Verify(args) => runtime.block_on(work(&args.store, maintenance::verify(&args))),
        Command::Import(args) => runtime.block_on(work(&args.store, maintenance::import(&args))),
        Command::Parked(args) => match &args.action {
            ParkedAction::List(store) => {
                runtime.block_on(work(store, maintenance::list_parked(store)))
            }
            ParkedAction::Retry { store, orders } => {
                runtime.block_on(work(store, maintenance::retry_parked(store, orders)))
            }
        },
        Command::Openapi => print_openapi(),
    };
    match done {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
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

fn init_logs(args: &LogArgs) -> Result<(), ConfigProblems> {
    let (format, filter) = args.validate()?;
    telemetry::init_logs(format, filter);
    Ok(())
}

async fn serve(args: &ServeArgs) -> anyhow::Result<Outcome> {
    let config = args.validate()?;
    init_logs(&args.store.log)?;
    let signals = Signals::listen().context("signals cannot be listened to")?;
    let stop = signals.first();
    tokio::pin!(stop);
    let app = tokio::select! {
        app = App::start(config) => app?,
        () = &mut stop => return Ok(Outcome::Good),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", app.address())?;
    stdout.flush()?;
    app.run_until(stop).await.map(|()| Outcome::Good)
}

/// Runs a command that works beside the service, until it ends or a signal comes: every one of
/// them may be stopped at any moment and run again.
async fn work(
    args: &StoreArgs,
    command: impl Future<Output = anyhow::Result<Outcome>>,
) -> anyhow::Result<Outcome> {
    init_logs(&args.log)?;
    args.currency()?;
    let stop = Signals::listen()
        .context("signals cannot be listened to")?
        .first();
    tokio::select! {
        done = command => done,
        () = stop => bail!("stopped by a signal; run it again to go on"),
    }
}

fn print_openapi() -> anyhow::Result<Outcome> {
    let document = http::openapi().to_pretty_json()?;
    writeln!(std::io::stdout(), "{document}")?;
    Ok(Outcome::Good)
}
