//! The `orders` program: reads the command line and calls the library.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use orders::{
    app::{
        App,
        config::{ConfigProblems, LogArgs, ServeArgs, StoreArgs},
        signals::StopSignals,
        telemetry,
    },
    cli::{
        Cli, Command, ParkedAction,
        commands::{self, CommandOutcome},
    },
    http,
};
use tracing::error;

/// Requests and events are many small values that one thread allocates and another frees. With
/// glibc's allocator that took a sixth of the service's time in a profile.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit status for a configuration that is not valid.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return report(&error.context("cannot start the Tokio runtime"));
        }
    };
    let result = match cli.command {
        Command::Serve(args) => runtime.block_on(serve(&args)),
        Command::Migrate(args) => runtime.block_on(run(&args, commands::migrate(&args))),
        Command::Replay(args) => runtime.block_on(run(&args.store, commands::replay(&args))),
        Command::Verify(args) => runtime.block_on(run(&args.store, commands::verify(&args))),
        Command::Import(args) => runtime.block_on(run(&args.store, commands::import(&args))),
        Command::Parked(args) => match &args.action {
            ParkedAction::List(store) => runtime.block_on(run(store, commands::list_parked(store))),
            ParkedAction::Retry { store, orders } => {
                runtime.block_on(run(store, commands::retry_parked(store, orders)))
            }
        },
        Command::Openapi => print_openapi(),
    };
    match result {
        Ok(CommandOutcome::Success) => ExitCode::SUCCESS,
        Ok(CommandOutcome::Problem) => ExitCode::FAILURE,
        Err(error) => report(&error),
    }
}

/// Reports an error to the log and to standard error, and returns the exit status.
fn report(error: &anyhow::Error) -> ExitCode {
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

async fn serve(args: &ServeArgs) -> anyhow::Result<CommandOutcome> {
    let config = args.validate()?;
    init_logs(&args.store.log)?;
    let signals = StopSignals::listen().context("cannot listen for signals")?;
    let stop = signals.wait_for_stop();
    tokio::pin!(stop);
    let app = tokio::select! {
        app = App::start(config) => app?,
        () = &mut stop => return Ok(CommandOutcome::Success),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", app.address())?;
    stdout.flush()?;
    app.run_until(stop).await?;
    Ok(CommandOutcome::Success)
}

/// Runs a command until it ends or a signal arrives. Every command may be stopped at any moment and
/// run again.
async fn run(
    args: &StoreArgs,
    command: impl Future<Output = anyhow::Result<CommandOutcome>>,
) -> anyhow::Result<CommandOutcome> {
    init_logs(&args.log)?;
    args.currency()?;
    let signals = StopSignals::listen().context("cannot listen for signals")?;
    tokio::select! {
        outcome = command => outcome,
        () = signals.wait_for_stop() => bail!("stopped by a signal; run the command again to continue"),
    }
}

fn print_openapi() -> anyhow::Result<CommandOutcome> {
    let document = http::openapi().to_pretty_json()?;
    writeln!(std::io::stdout(), "{document}")?;
    Ok(CommandOutcome::Success)
}
