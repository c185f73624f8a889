//! Alerts as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OneOrMany, SecretPlace, Share, Span, Table, TextOr};

/// One way out for alerts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// How it goes out.
    #[schemars(required)]
    pub kind: Option<AlertKind>,
    /// What is told here. Default: all of it.
    pub tell: Option<Vec<Tell>>,
    /// How long a source or platform must have been out, or a file stuck, before it is told. Default `"15m"`.
    pub unreachable_after: Option<Span>,
    /// Share of a file's rows; with more of them rejected it is told. Default: off.
    pub rejected_above: Option<Share>,
    /// What is still so after this time is told again; `"0s"` never does. Default `"1d"`.
    pub remind: Option<Span>,
    /// Messages an hour at most; what is above becomes one message that names the first and counts the rest. At least 2. Default 20.
    pub per_hour: Option<u32>,
    /// A message that could not be delivered for this long is given up, which the log and `status` say. Default `"1d"`.
    pub give_up_after: Option<Span>,
    /// Deadline of one try; of mail, of each exchange with the server. Default `"10s"`.
    pub timeout: Option<Span>,
    /// When a summary of what came, what did not and what waits is told. Default: never.
    pub digest: Option<Table<Digest>>,
    /// Address of the review page as readers reach it, for links. Default: commands alone.
    pub page: Option<String>,
    /// What titles and subjects begin with, to tell several installations apart. Default `"passferry"`.
    pub prefix: Option<String>,
    /// Where messages are posted: an address, or the place of one that is a secret itself, as those of Slack are (kinds `webhook`, `slack`).
    pub url: Option<TextOr<SecretPlace>>,
    /// Signs each message; `whsec_` and Base64, or any text (kind `webhook`).
    pub secret: Option<Table<SecretPlace>>,
    /// PEM file of authorities to trust besides those of this machine.
    pub ca_file: Option<String>,
    /// The mail server (kind `mail`, as all below).
    pub host: Option<String>,
    /// Its TCP port. Default 587 with STARTTLS, 465 with TLS, 25 without.
    pub port: Option<u16>,
    /// How the connection is protected. Default `"starttls"`.
    pub tls: Option<MailTls>,
    /// Login name.
    pub user: Option<String>,
    /// Password of `user`.
    pub password: Option<Table<SecretPlace>>,
    /// Address in From.
    pub from: Option<String>,
    /// Address, or list of them, that gets the messages.
    pub to: Option<OneOrMany>,
}

/// How alerts go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// JSON, signed in the manner of Standard Webhooks.
    Webhook,
    /// E-mail by SMTP.
    Mail,
    /// Slack's incoming webhooks, and what understands the same.
    Slack,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// TLS after the greeting; without it nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// In clear.
    None,
}

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tell {
    /// A file is held.
    Held,
    /// A file failed, or its run was stopped before its end.
    Failed,
    /// Rows are in doubt.
    InDoubt,
    /// More rows were rejected than `rejected_above`.
    Rejected,
    /// An expected file has not come, or one waits too long for what belongs to it.
    Missing,
    /// A file cannot go on: it cannot be fetched or put away, or its report cannot be written.
    Stuck,
    /// A source cannot be listed.
    Source,
    /// A platform is out.
    Platform,
    /// The disk of the state is full.
    Disk,
    /// A changed configuration was refused.
    Configuration,
    /// Pushes to phones are halted, or a certificate ends.
    Push,
}

/// When a digest is told.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Minute, hour, day, month, weekday.
    #[schemars(required)]
    pub at: Option<String>,
    /// IANA time zone of `at`. Default `"UTC"`.
    pub timezone: Option<String>,
}
