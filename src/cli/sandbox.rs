//! `sandbox`: the stand-in platform, until stopped.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::{Exit, context, out};
use crate::sandbox::{Faults, Sandbox, Settings};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8910")]
    listen: SocketAddr,
    /// File that keeps the passes between starts; without it they are gone at the end
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Append every request to this file, one JSON object a line (credentials are left out)
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// Do not keep request bodies in memory
    #[arg(long)]
    no_bodies: bool,
    /// Trouble to make from the start, as JSON (PUT /sandbox/faults changes it later)
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// API key to accept
    #[arg(long, default_value = "sandbox-key")]
    key: String,
    /// Environment variable that holds the API secret; without it the secret is sandbox-secret
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// Program of the account
    #[arg(long, default_value = "sandbox-program")]
    program: String,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let faults = match &args.faults {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path).with_context(|| path.display().to_string())?)
            .with_context(|| path.display().to_string())?,
        None => Faults::default(),
    };
    let secret = match &args.secret_env {
        Some(name) => std::env::var(name).with_context(|| format!("environment variable {name}"))?,
        None => "sandbox-secret".to_owned(),
    };
    let stop = context::stop_on_signals()?;
    let sandbox = Sandbox::start(Settings {
        listen: args.listen,
        database: args.database.clone(),
        key: args.key.clone(),
        secret,
        program: args.program.clone(),
        log: args.requests.clone(),
        log_bodies: !args.no_bodies,
        faults,
        ..Settings::default()
    })?;
    let mut out = out::stdout();
    writeln!(out, "sandbox platform at {} (program {}, key {})", sandbox.base_url(), args.program, args.key)?;
    out.flush()?;
    while !stop.wait(Duration::from_hours(1)) {}
    Ok(Exit::Ok)
}
