//! The place of the demonstration: a folder that holds both servers' files, the keys, and a configuration like a real one.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use rand::distr::{Alphanumeric, SampleString};

use super::exports::{Export, Member};
use super::server::{ServerFaults, ServerSettings, SftpServer, generate_client_key};
use crate::config;
use crate::config::meant::Config;
use crate::sandbox::{Faults, Issue, Latency, Sandbox, Settings};

/// The user of the SFTP server.
pub const USER: &str = "demo";
/// Inboxes, as the server's users see them.
pub const WAREHOUSE: &str = "warehouse";
pub const MARKETING: &str = "marketing";

const KEY: &str = "demo-key";
const PROGRAM: &str = "demo-program";
/// Passes below this number have no room for the samples' rows.
pub const PASSES_MIN: u32 = 200;

/// What the demonstration is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Must be empty or absent; none makes one among the temporary files and leaves it there.
    pub folder: Option<PathBuf>,
    /// Loyalty passes to issue.
    pub passes: u32,
}

/// Both servers, running, and what a client needs to know of them.
pub struct Stage {
    pub folder: PathBuf,
    pub server: SftpServer,
    pub sandbox: Sandbox,
    pub config: Arc<Config>,
    pub passes: u32,
}

impl Stage {
    /// Makes the folder, starts both servers on free ports of this machine, issues the passes and writes the configuration.
    /// Fails when the folder holds something already.
    pub fn set(options: &Options) -> anyhow::Result<Stage> {
        ensure!(options.passes >= PASSES_MIN, "the demonstration needs at least {PASSES_MIN} passes");
        let folder = folder(options.folder.as_deref())?;
        for name in ["secrets", "schemas", "server"] {
            fs::DirBuilder::new().mode(0o700).create(folder.join(name))?;
        }
        for inbox in [WAREHOUSE, MARKETING] {
            fs::create_dir(folder.join("server").join(inbox))?;
        }
        fs::write(folder.join("schemas/loyalty-card.json"), include_str!("../../schemas/loyalty-card.json"))?;
        fs::write(folder.join("schemas/campaign-text.json"), include_str!("../../schemas/campaign-text.json"))?;

        let client_key = generate_client_key(&folder.join("secrets/id_ed25519"))?;
        let settings = ServerSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            user: USER.to_owned(),
            password: None,
            authorized_keys: vec![client_key],
            faults: ServerFaults::default(),
        };
        let server = SftpServer::start_with_host_key(&folder.join("server"), settings, &folder.join("secrets/host_key"))?;
        fs::write(folder.join("known_hosts"), format!("{}\n", server.host_key_line()))?;

        let secret = Alphanumeric.sample_string(&mut rand::rng(), 40);
        private(&folder.join("secrets/platform-key"), KEY)?;
        private(&folder.join("secrets/platform-secret"), &secret)?;
        let sandbox = Sandbox::start(Settings {
            database: Some(folder.join("sandbox.sqlite")),
            log: Some(folder.join("requests.jsonl")),
            key: KEY.to_owned(),
            secret,
            program: PROGRAM.to_owned(),
            faults: Faults { latency: Latency::Spread { p50_ms: 4, p95_ms: 12, p99_ms: 40 }, ..Faults::default() },
            ..Settings::default()
        })?;
        let issued = sandbox.issue(Export::first_day(options.passes)?.members()?.iter().map(before))?;
        ensure!(issued == u64::from(options.passes), "the sandbox issued {issued} passes instead of {}", options.passes);

        let path = folder.join("passferry.toml");
        fs::write(&path, configuration(&server, &sandbox)?)?;
        let config = Arc::new(config::load(&path).context("the demonstration's configuration")?);
        Ok(Stage { folder, server, sandbox, config, passes: options.passes })
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.join("passferry.toml")
    }

    pub fn client_key(&self) -> PathBuf {
        self.folder.join("secrets/id_ed25519")
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }
}

/// A pass as it stood before the first export: an old balance, and a value of its own that no feed maps.
fn before(member: &Member) -> Issue {
    Issue {
        external_id: member.external_id.clone(),
        points: 1.0,
        meta_data: [("homeStore".to_owned(), HOME_STORE.to_owned())].into(),
        ..Issue::default()
    }
}

/// What passes hold that no feed maps: it must survive every update.
pub const HOME_STORE: &str = "Lyon";

fn folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(wanted) = wanted else {
        return Ok(tempfile::Builder::new().prefix("passferry-demo-").tempdir().context("cannot make a temporary folder")?.keep());
    };
    fs::create_dir_all(wanted).with_context(|| format!("cannot make the folder {}", wanted.display()))?;
    let folder = wanted.canonicalize()?;
    ensure!(
        fs::read_dir(&folder)?.next().is_none(),
        "{} is not empty; name another folder, or remove what an earlier demonstration left there",
        folder.display()
    );
    Ok(folder)
}

fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn configuration(server: &SftpServer, sandbox: &Sandbox) -> anyhow::Result<String> {
    let mut text = String::from(
        "# Written by `passferry demo`. Everything here is explained by `passferry config sample`.\n\
         # The two servers live as long as the demonstration (`passferry demo --keep`).\n\n",
    );
    write!(
        text,
        r#"state = "state"

[source.shop]
kind = "sftp"
host = "{host}"
port = {port}
user = "{USER}"
key = {{ file = "secrets/id_ed25519" }}
host_key = "{fingerprint}"
poll = "1s"

[platform.sandbox]
kind = "passkit"
environment = "test"
base_url = "{base_url}"
key = {{ file = "secrets/platform-key" }}
secret = {{ file = "secrets/platform-secret" }}
program = "{PROGRAM}"
allowance = "2500/s"
in_flight = 32

# The warehouse exports how every card stands, night after night.
[feed.loyalty]
source = "shop"
inbox = "{WAREHOUSE}"
pattern = "loyalty_*.csv{{,.gz}}"
content = "snapshot"
schema = "schemas/loyalty-card.json"
platform = "sandbox"
environment = "test"
pass = {{ external_id = "external_id" }}
quiet = "1s"

[feed.loyalty.fields]
"points" = "points"
"metaData.tierLabel" = "{{{{ tier | upper }}}} member"
"metaData.balance" = "balance"

# The marketing tool sends texts for some of the cards.
[feed.campaign]
source = "shop"
inbox = "{MARKETING}"
pattern = "campaign_*.csv"
content = "delta"
schema = "schemas/campaign-text.json"
platform = "sandbox"
environment = "test"
pass = {{ external_id = "customer_id" }}
quiet = "1s"

[feed.campaign.fields]
"metaData.campaignText" = "campaign_text"

# The first file of a feed is held for a person. The demonstration shows that with the other feed.
[feed.campaign.guard]
first_file = false
"#,
        host = server.address().ip(),
        port = server.address().port(),
        fingerprint = server.fingerprint(),
        base_url = sandbox.base_url(),
    )?;
    Ok(text)
}
