//! Ways out for alerts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::zone::Zone;

pub use crate::config::written::alert::Tell;
use crate::secret::Secret;

/// One way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub name: String,
    pub out: Out,
    pub tell: BTreeSet<Tell>,
    /// How long a source or platform must have been out, or a file stuck.
    pub unreachable_after: Duration,
    /// Share of rejected rows above which a file is told, as a fraction of 1; none tells of none.
    pub rejected_above: Option<f64>,
    /// What stands for so long is told again; none never is.
    pub remind: Option<Duration>,
    /// Messages an hour, at least 2.
    pub per_hour: u32,
    pub give_up_after: Duration,
    /// Of one try; of mail, of each exchange with the server.
    pub timeout: Duration,
    pub digest: Option<Digest>,
    /// Address of the review page, without a slash at its end.
    pub page: Option<String>,
    /// What titles begin with.
    pub prefix: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Webhook { url: Address, secret: Secret, ca_file: Option<PathBuf> },
    Slack { url: Address, ca_file: Option<PathBuf> },
    Mail(Box<Mail>),
}

/// An address to post to.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    Plain(String),
    /// Whoever knows it may write there.
    Secret(Secret),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub login: Option<(String, Secret)>,
    /// A mailbox of RFC 5322, such as `passferry <ops@example.com>`; those in `to` as well.
    pub from: String,
    pub to: Vec<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// After the greeting, or nothing is sent.
    Start,
    /// From the first byte.
    Whole,
    Never,
}

/// A five-field cron expression in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    pub at: String,
    pub timezone: Zone,
}

impl Way {
    /// For people: `webhook`, `mail` or `slack`.
    pub const fn kind(&self) -> &'static str {
        match self.out {
            Out::Webhook { .. } => "webhook",
            Out::Slack { .. } => "slack",
            Out::Mail(_) => "mail",
        }
    }
}

impl Tell {
    pub const ALL: [Tell; 11] = [
        Tell::Held,
        Tell::Failed,
        Tell::InDoubt,
        Tell::Rejected,
        Tell::Missing,
        Tell::Stuck,
        Tell::Source,
        Tell::Platform,
        Tell::Disk,
        Tell::Configuration,
        Tell::Push,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Tell::Held => "held",
            Tell::Failed => "failed",
            Tell::InDoubt => "in-doubt",
            Tell::Rejected => "rejected",
            Tell::Missing => "missing",
            Tell::Stuck => "stuck",
            Tell::Source => "source",
            Tell::Platform => "platform",
            Tell::Disk => "disk",
            Tell::Configuration => "configuration",
            Tell::Push => "push",
        }
    }
}
