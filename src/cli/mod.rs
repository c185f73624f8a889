//! The command line: one file per command. The only place that prints.

mod check;
mod codes;
mod completions;
mod config;
mod context;
pub mod exit;
mod file;
mod man;
mod once;
mod out;
mod preview;
mod progress;
mod run;
mod sandbox;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::logging;
pub use exit::{Exit, Failure};

/// Ferries flat files onto wallet passes, row by row, and answers every file with a report.
#[derive(Parser, Debug)]
#[command(name = "passferry", version, about, max_term_width = 110, after_long_help = exit_codes())]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(clap::Args, Debug, Clone)]
pub struct Global {
    /// Configuration file; else $`PASSFERRY_CONFIG`, ./passferry.toml, $`XDG_CONFIG_HOME/passferry/passferry.toml`, /etc/passferry/passferry.toml
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log on standard error
    #[arg(long, global = true, value_enum, default_value_t = logging::Format::Text)]
    log: logging::Format,
    /// What to log: error, warn, info, debug, or filters such as `passferry::dispatch=debug`; $`PASSFERRY_LOG` wins
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Watch the sources and process what arrives, until stopped
    Run(run::Args),
    /// Sweep once: process what is there, then end (for cron and systemd timers)
    Once(once::Args),
    Check(check::Args),
    Validate(validate::Args),
    Preview(preview::Args),
    Codes(codes::Args),
    Config(config::Args),
    /// Stand-in pass platform on this machine
    Sandbox(sandbox::Args),
    Completions(completions::Args),
    Man(man::Args),
}

fn exit_codes() -> String {
    let lines: Vec<String> = Exit::ALL.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}", *exit as u8)).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Parses, runs, and turns the result into an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let default_level = match cli.command {
        Command::Run(_) | Command::Once(_) => "info",
        _ => "warn",
    };
    if let Err(error) = logging::start(cli.global.log, Some(cli.global.log_level.as_deref().unwrap_or(default_level))) {
        out::error(&format!("--log-level: {error:#}"));
        return Exit::Usage.into();
    }
    let global = cli.global;
    let result = match cli.command {
        Command::Run(args) => run::run(&global, &args),
        Command::Once(args) => once::run(&global, &args),
        Command::Check(args) => check::run(&global, &args),
        Command::Validate(args) => validate::run(&global, &args),
        Command::Preview(args) => preview::run(&global, &args),
        Command::Codes(args) => codes::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        // The reader of a pipe went away: nobody is left to tell.
        Err(error) if out::is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            out::error(&format!("{error:#}"));
            exit::exit_of(&error).into()
        }
    }
}
