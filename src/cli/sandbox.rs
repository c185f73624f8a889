//! `sandbox`: the stand-in platforms, until stopped.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::{Exit, context, out};
use crate::sandbox::{
    AIRSHIP, Faults, GOOGLE_WALLET, PASSENTRY, PASSKIT, PLATFORMS, Sandbox, Settings, THEWALLETCREW, apple, google_wallet,
};

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
    /// Key file of Google Wallet's service account: used when it is there, written when it is not
    #[arg(long, value_name = "FILE")]
    google_key: Option<PathBuf>,
    /// Stand in for Apple's push service too, at this address
    #[arg(long, value_name = "ADDRESS", requires = "apple_keys")]
    apns: Option<SocketAddr>,
    /// Folder of test certificates for Apple passes: used when they are there, written when they are not
    #[arg(long, value_name = "FOLDER")]
    apple_keys: Option<PathBuf>,
    /// Show the address and the credentials of this platform alone
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(PLATFORMS))]
    platform: Option<String>,
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
    let settings = Settings {
        listen: args.listen,
        database: args.database.clone(),
        key: args.key.clone(),
        secret,
        program: args.program.clone(),
        log: args.requests.clone(),
        log_bodies: !args.no_bodies,
        faults,
        google_wallet: google_wallet::Settings { key_file: args.google_key.clone(), ..google_wallet::Settings::default() },
        ..Settings::default()
    };
    let sandbox = Sandbox::start(settings.clone())?;
    let mut out = out::stdout();
    if args.platform.as_deref().is_none_or(|platform| platform == PASSKIT) {
        let (program, key, passkit) = (&args.program, &args.key, &settings.passkit);
        let more = format!("campaign {}, production {}", passkit.campaign, passkit.production.id);
        writeln!(out, "sandbox platform at {} (program {program}, key {key}; {more})", sandbox.base_url())?;
    }
    for platform in PLATFORMS.into_iter().filter(|platform| *platform != PASSKIT) {
        if args.platform.as_deref().is_none_or(|wanted| wanted == platform) {
            writeln!(out, "{platform} at {} ({})", sandbox.base_url_of(platform), credentials(platform, &settings, &sandbox))?;
        }
    }
    let apns = apns(args)?;
    if let (Some(apns), Some(folder)) = (&apns, &args.apple_keys) {
        let known = apple::Settings::default();
        let who = format!("pass type {}, team {}, key {}", known.topics.join(" "), known.team, known.key_id);
        writeln!(out, "apns at {} ({who}; certificates in {})", apns.base_url(), folder.display())?;
    }
    out.flush()?;
    while !stop.wait(Duration::from_hours(1)) {}
    Ok(Exit::Ok)
}

/// The push service, where one is asked for; certificates are made without it too.
fn apns(args: &Args) -> anyhow::Result<Option<apple::Apns>> {
    let Some(folder) = &args.apple_keys else { return Ok(None) };
    let known = apple::Settings::default();
    let pass_type = known.topics.first().map_or("", String::as_str);
    let certificates = apple::Certificates::kept(folder, pass_type, &known.team)?;
    let Some(listen) = args.apns else { return Ok(None) };
    let settings = apple::Settings { listen, any_device: true, ..known };
    apple::Apns::start(settings, &certificates).map(Some)
}

/// What opens a platform, in the words of its configuration.
fn credentials(platform: &str, settings: &Settings, sandbox: &Sandbox) -> String {
    match platform {
        GOOGLE_WALLET => {
            let key = match &settings.google_wallet.key_file {
                Some(file) => file.display().to_string(),
                None => format!("{}/sandbox/google-key", sandbox.base_url()),
            };
            format!("issuer {}, key file {key}", settings.google_wallet.issuer)
        }
        THEWALLETCREW => format!("tenant {}, key {}", settings.thewalletcrew.tenant, settings.thewalletcrew.key),
        AIRSHIP => {
            let airship = &settings.airship;
            let templates = airship.templates.join(" and ");
            format!("templates {templates}; client {} with secret {:?}", airship.client_id, airship.client_secret)
        }
        PASSENTRY => format!("key {}", settings.passentry.key),
        _ => {
            let tills = &settings.tills;
            format!("key {}, secret {}, token {}", tills.key, tills.secret, tills.token)
        }
    }
}
