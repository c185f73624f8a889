//! Ways out for alerts.

use std::time::Duration;

use super::platform::is_this_machine;
use super::{Check, Key};
use crate::config::meant::alert::{Address, Digest, Mail, MailTls, Out, Tell, Way};
use crate::config::value::{self, choices, quoted};
use crate::config::written::{self, AlertKind, OneOrMany, TextOr};
use crate::secret::Secret;

/// Keys that not every kind has, and the kinds that have them.
const OWN: [(&str, &[AlertKind]); 10] = [
    ("url", &[AlertKind::Webhook, AlertKind::Slack]),
    ("secret", &[AlertKind::Webhook]),
    ("host", &[AlertKind::Mail]),
    ("port", &[AlertKind::Mail]),
    ("tls", &[AlertKind::Mail]),
    ("user", &[AlertKind::Mail]),
    ("password", &[AlertKind::Mail]),
    ("from", &[AlertKind::Mail]),
    ("to", &[AlertKind::Mail]),
    ("ca_file", &[AlertKind::Webhook, AlertKind::Slack, AlertKind::Mail]),
];

const fn named(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Webhook => "webhook",
        AlertKind::Slack => "slack",
        AlertKind::Mail => "mail",
    }
}

impl Check<'_> {
    pub(super) fn alert(&mut self, key: &Key, name: &str, alert: &written::Alert) -> Option<Way> {
        let kind = self.required(&key.child("kind"), alert.kind.as_ref(), "kind = \"webhook\", kind = \"mail\" or kind = \"slack\"");
        if let Some(kind) = kind {
            for given in self.document.names_in(key) {
                if let Some((_, kinds)) = OWN.iter().find(|(own, kinds)| *own == given && !kinds.contains(&kind)) {
                    let kinds: Vec<&str> = kinds.iter().map(|kind| named(*kind)).collect();
                    self.fault(
                        &key.child(&given),
                        format!("is a key of alerts of kind {}; remove it, or write another kind", choices(&kinds)),
                    );
                }
            }
        }
        if alert.tell.as_ref().is_some_and(Vec::is_empty) {
            self.fault(&key.child("tell"), "is empty, so nothing but the digest would be told; name what is, or remove the line".into());
        }
        let second = Duration::from_secs(1);
        let unreachable_after =
            self.span(&key.child("unreachable_after"), alert.unreachable_after.as_ref(), Duration::from_mins(15), Duration::ZERO);
        let share = alert.rejected_above.as_ref().filter(|share| !share.0.is_empty());
        let rejected_above = share.and_then(|share| self.good(&key.child("rejected_above"), value::share(&share.0)));
        let day = Duration::from_hours(24);
        let remind = self.span(&key.child("remind"), alert.remind.as_ref(), day, Duration::ZERO);
        if !remind.is_zero() && remind < second {
            self.fault(&key.child("remind"), "is too short; write at least \"1s\", or \"0s\" for never".into());
        }
        let give_up_after = self.span(&key.child("give_up_after"), alert.give_up_after.as_ref(), day, second);
        let timeout = self.span(&key.child("timeout"), alert.timeout.as_ref(), Duration::from_secs(10), second);
        let per_hour = alert.per_hour.unwrap_or(20);
        if per_hour < 2 {
            self.fault(&key.child("per_hour"), "is too few; write at least 2: the last of them counts what did not fit".into());
        }
        let prefix = alert.prefix.clone().unwrap_or_else(|| "passferry".into());
        if prefix.chars().any(char::is_control) || prefix.len() > 60 {
            self.fault(&key.child("prefix"), "is no short line of text; write such as \"passferry test\"".into());
        }
        let digest = alert.digest.as_ref().and_then(|digest| self.digest(&key.child("digest"), digest));
        let page = alert.page.as_ref().and_then(|page| self.page(&key.child("page"), page));
        let ca_file = alert.ca_file.as_ref().map(|path| self.path(&key.child("ca_file"), path));
        let out = match kind? {
            AlertKind::Webhook => {
                let url = self.address_of_alert(key, alert.url.as_ref(), true);
                let place = self.required(&key.child("secret"), alert.secret.as_ref(), "secret = { env = \"NAME\" }")?;
                Out::Webhook { url: url?, secret: self.secret(&key.child("secret"), &place)?, ca_file }
            }
            AlertKind::Slack => Out::Slack { url: self.address_of_alert(key, alert.url.as_ref(), false)?, ca_file },
            AlertKind::Mail => Out::Mail(Box::new(Mail { ca_file, ..self.mail(key, alert)? })),
        };
        Some(Way {
            name: name.to_owned(),
            out,
            tell: alert.tell.as_ref().map_or_else(|| Tell::ALL.into(), |tell| tell.iter().copied().collect()),
            unreachable_after,
            rejected_above,
            remind: (!remind.is_zero()).then_some(remind),
            per_hour,
            give_up_after,
            timeout,
            digest,
            page,
            prefix,
        })
    }

    fn digest(&mut self, key: &Key, digest: &written::AlertDigest) -> Option<Digest> {
        let at = self.required(&key.child("at"), digest.at.as_ref(), "at = \"0 8 * * *\"");
        let timezone = self.timezone(&key.child("timezone"), digest.timezone.as_ref());
        let at = at?;
        if at.split_whitespace().count() != 5 || at.parse::<croner::Cron>().is_err() {
            let message =
                format!("{} is not a time of five fields (minute hour day month weekday); write such as \"0 8 * * 1-5\"", quoted(&at));
            self.fault(&key.child("at"), message);
        }
        Some(Digest { at, timezone })
    }

    fn page(&mut self, key: &Key, text: &str) -> Option<String> {
        let address = url::Url::parse(text).ok().filter(|url| {
            let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && url.has_host() && bare
        });
        if address.is_none() {
            self.fault(key, "is not the address of a page; write such as \"https://passferry.example.com\"".into());
        }
        address.map(|url| url.as_str().trim_end_matches('/').to_owned())
    }

    /// None where there is a fault.
    fn address_of_alert(&mut self, key: &Key, url: Option<&TextOr<written::SecretPlace>>, plain: bool) -> Option<Address> {
        let here = key.child("url");
        let example = if plain { "url = \"https://example.com/alerts\"" } else { "url = { env = \"SLACK_URL\" }" };
        match self.required(&here, url, example)? {
            TextOr::Table(place) => self.secret(&here, &place).map(Address::Secret),
            TextOr::Text(_) if !plain => {
                let message =
                    "is a secret: whoever knows it may write to the channel; write url = { env = \"NAME\" } or { file = \"PATH\" }";
                self.fault(&here, message.into());
                None
            }
            TextOr::Text(text) => self.good(&here, fit_address(&text)).map(Address::Plain),
        }
    }

    fn mail(&mut self, key: &Key, alert: &written::Alert) -> Option<Mail> {
        let host = self.required(&key.child("host"), alert.host.as_ref(), "host = \"smtp.example.com\"");
        if host.as_ref().is_some_and(|host| host.is_empty() || host.contains(['/', '@', ' '])) {
            self.fault(&key.child("host"), "is not a host; write the server's name or address alone".into());
        }
        let tls = match alert.tls {
            None | Some(written::MailTls::Starttls) => MailTls::Start,
            Some(written::MailTls::Tls) => MailTls::Whole,
            Some(written::MailTls::None) => MailTls::Never,
        };
        if alert.port == Some(0) {
            self.fault(&key.child("port"), "0 is no port; write 587 or the server's own".into());
        }
        let login = self.mail_login(key, alert);
        let here =
            host.as_deref().is_some_and(|host| host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()));
        if tls == MailTls::Never && login.is_some() && !here {
            self.fault(&key.child("tls"), "would send the password in clear; write \"starttls\" or \"tls\"".into());
        }
        let from = self.required(&key.child("from"), alert.from.as_ref(), "from = \"passferry <ops@example.com>\"");
        let to = self.required(&key.child("to"), alert.to.as_ref(), "to = [\"ops@example.com\"]");
        let to = to.map_or_else(Vec::new, |to| match to {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        });
        if to.is_empty() && alert.to.is_some() {
            self.fault(&key.child("to"), "is an empty list; write at least one address".into());
        }
        for (name, mailbox) in from.iter().map(|from| ("from", from)).chain(to.iter().map(|to| ("to", to))) {
            if mailbox.chars().any(char::is_control) || mailbox.parse::<lettre::message::Mailbox>().is_err() {
                let message =
                    format!("{} is not a mail address; write such as \"ops@example.com\" or \"Ops <ops@example.com>\"", quoted(mailbox));
                self.fault(&key.child(name), message);
            }
        }
        let usual = match tls {
            MailTls::Start => 587,
            MailTls::Whole => 465,
            MailTls::Never => 25,
        };
        Some(Mail { host: host?, port: alert.port.unwrap_or(usual), tls, login, from: from?, to, ca_file: None })
    }

    fn mail_login(&mut self, key: &Key, alert: &written::Alert) -> Option<(String, Secret)> {
        let password = alert.password.as_ref().and_then(|place| self.secret(&key.child("password"), place));
        match (&alert.user, alert.password.is_some()) {
            (Some(user), true) => Some((user.clone(), password?)),
            (Some(_), false) if !self.document.pruned_within(&key.child("password")) => {
                self.fault(&key.child("user"), "needs a password; write password = { env = \"NAME\" }, or remove it".into());
                None
            }
            (None, true) => {
                self.fault(&key.child("password"), "belongs to a user; write user = \"LOGIN\", or remove it".into());
                None
            }
            _ => None,
        }
    }
}

/// An address that may stand in the file, as it is posted to.
fn fit_address(text: &str) -> Result<String, String> {
    let url =
        url::Url::parse(text).ok().filter(url::Url::has_host).ok_or("is not an address; write such as \"https://example.com/alerts\"")?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than an address in it, which often is a key; keep it apart: url = { env = \"NAME\" }".into());
    }
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if is_this_machine(&url) => Ok(url.into()),
        "http" => Err("would send alerts in clear; write https:// (http:// is for this machine alone)".into()),
        _ => Err("is not a web address; write https://…".into()),
    }
}
