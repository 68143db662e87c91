//! The `stockroom` program: the edge where arguments, environment, clock and randomness come from.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use stockroom::cli::error::CliError;
use stockroom::cli::output::{self, Output};
use stockroom::cli::{self, Cli, Context};
use stockroom::config::{Config, Environment};
use stockroom::exit::Exit;
use stockroom::telemetry::logs::{self, LogSurroundings};
use stockroom_domain::{SystemClock, SystemEntropy};
use tracing::Level;

/// How long work in the background may take to notice that the program ends.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli).into(),
        Err(error) => {
            let wants_json = arguments.iter().any(|argument| argument == "--json");
            output::usage(&error, wants_json).into()
        }
    }
}

fn run(cli: Cli) -> Exit {
    let output = Output::new(&cli.global);
    let environment = match Environment::of_this_process() {
        Ok(environment) => Environment {
            config_file: cli.global.config,
            env_file: cli.global.env_file,
            second_file: cli.command.second_file().map(Path::to_owned),
            ..environment
        },
        Err(error) => {
            let detail = format!("The working directory cannot be used: {error}.");
            return fail(&output, &CliError::failed("working_directory", detail));
        }
    };
    let loaded = match Config::load(&environment) {
        Ok(loaded) => loaded,
        Err(problems) => {
            output.problems(&problems);
            return Exit::Configuration;
        }
    };
    let surroundings = LogSurroundings {
        default_level: if cli.global.quiet {
            Level::ERROR
        } else {
            cli.command.log_level()
        },
        is_terminal: io::stderr().is_terminal(),
        // See <https://no-color.org>.
        may_colour: environment
            .vars
            .get("NO_COLOR")
            .is_none_or(|value| value.is_empty()),
    };
    logs::start(&loaded.config.log, surroundings);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let detail = format!("The system gives no threads: {error}.");
            return fail(&output, &CliError::failed("runtime", detail));
        }
    };
    let context = Context {
        loaded,
        output,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let exit = runtime.block_on(cli::run(&context, cli.command));
    runtime.shutdown_timeout(LAST_MOMENTS);
    exit
}

fn fail(output: &Output, error: &CliError) -> Exit {
    output.error(error);
    error.exit()
}
