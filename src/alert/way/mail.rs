//! E-mail by SMTP.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};
use tracing::warn;

use super::Fault;
use crate::alert::message::Message;
use crate::config::meant::alert::{Mail, MailTls, Way};
use crate::ledger::telling::Letter;

/// Connects, logs in and asks for nothing (NOOP).
pub fn reach(way: &Way, mail: &Mail) -> Result<String, Fault> {
    match transport(way, mail)?.test_connection() {
        Ok(true) => Ok(format!("connected{}", if mail.login.is_some() { " and logged in" } else { "" })),
        Ok(false) => Err(Fault::later("the server does not answer a NOOP")),
        Err(error) => Err(fault(&error)),
    }
}

/// Whom the server took a message for, and whom it will not, by the message's id. A start forgets it, and a mailbox may get one twice then.
pub type Done = Mutex<HashMap<String, HashMap<String, bool>>>;

/// One message to all. Where the server refuses it for one of them, the others get it each for himself.
pub fn send(way: &Way, mail: &Mail, letter: &Letter, message: &Message, done: &Done) -> Result<(), Fault> {
    let transport = transport(way, mail)?;
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    let had = done.entry(letter.id.clone()).or_default();
    let left: Vec<&String> = mail.to.iter().filter(|to| !had.contains_key(*to)).collect();
    if had.is_empty() {
        match transport.send(&letter_for(way, mail, &left, letter, message)?) {
            Err(error) if refuses_message(&error) && left.len() > 1 => {}
            result => {
                done.remove(&letter.id);
                return result.map(drop).map_err(|error| fault(&error));
            }
        }
    }
    let (mut later, mut refused) = (None, None);
    for to in left {
        let result = transport.send(&letter_for(way, mail, &[to], letter, message)?);
        match result.map_err(|error| fault(&error)) {
            Err(fault @ Fault::Refused(_)) => {
                warn!(alert = way.name, "one of the addresses in to is refused: {}", fault.words());
                refused = Some(fault);
                had.insert(to.clone(), false);
            }
            Err(fault) => later = Some(fault),
            Ok(_) => {
                had.insert(to.clone(), true);
            }
        }
    }
    if let Some(fault) = later {
        return Err(fault);
    }
    let delivered = had.values().any(|taken| *taken);
    done.remove(&letter.id);
    refused.filter(|_| !delivered).map_or(Ok(()), Err)
}

fn transport(way: &Way, mail: &Mail) -> Result<SmtpTransport, Fault> {
    let tls = match mail.tls {
        MailTls::Never => Tls::None,
        MailTls::Start => Tls::Required(parameters(mail)?),
        MailTls::Whole => Tls::Wrapper(parameters(mail)?),
    };
    let mut builder = SmtpTransport::builder_dangerous(&mail.host)
        .port(mail.port)
        .tls(tls)
        .timeout(Some(way.timeout))
        // The domain of the sender: the machine's own name may be nobody's business, or no name at all.
        .hello_name(ClientId::Domain(domain(mail).to_owned()));
    if let Some((user, password)) = &mail.login {
        let password = password.with(str::to_owned).map_err(Fault::later)?;
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

fn parameters(mail: &Mail) -> Result<TlsParameters, Fault> {
    let mut builder = TlsParameters::builder(mail.host.clone());
    for certificate in mail.ca_file.iter().map(|path| authorities(path)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| Fault::later(format!("TLS cannot be used: {error}")))
}

/// Every certificate of a PEM file.
fn authorities(path: &Path) -> Result<Vec<Certificate>, Fault> {
    let unreadable = |words: String| Fault::later(format!("cannot read the CA file {}: {words}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let all = openssl::x509::X509::stack_from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
    let certificate = |one: &openssl::x509::X509| {
        let der = one.to_der().map_err(|error| unreadable(error.to_string()))?;
        Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))
    };
    all.iter().map(certificate).collect()
}

fn domain(mail: &Mail) -> &str {
    let from = mail.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain.trim_end_matches('>'));
    if from.is_empty() { "localhost" } else { from }
}

fn letter_for(way: &Way, mail: &Mail, to: &[&String], letter: &Letter, message: &Message) -> Result<lettre::Message, Fault> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| Fault::later(format!("{text:?} is no mail address: {error}")));
    let mut builder: MessageBuilder = lettre::Message::builder()
        .from(mailbox(&mail.from)?)
        .date(letter.at.into())
        // The same at each try: a mailbox that got it twice shows one.
        .message_id(Some(format!("<{}@{}>", letter.id, domain(mail))))
        // What looks encoded (RFC 2047) in a name of a file would be decoded by the reader.
        .subject(format!("[{}] {}", way.prefix, message.title.replace("=?", "= ?")))
        .header(ContentType::TEXT_PLAIN)
        // RFC 3834: nobody's absence is to be told to us.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Passferry-Alert", message.topic.as_str()));
    for one in to {
        builder = builder.to(mailbox(one)?);
    }
    builder.body(format!("{}\n\n{}", message.title, message.text())).map_err(|error| Fault::later(format!("it cannot be written: {error}")))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Is it this message, or whom it goes to, that is refused for good? 530 to 539 are about the login (RFC 4954, section 6).
fn refuses_message(error: &lettre::transport::smtp::Error) -> bool {
    error.is_permanent() && error.status().is_none_or(|code| u16::from(code) / 10 != 53)
}

/// Words of the library and of the server. A refusal of the message itself holds up no other.
fn fault(error: &lettre::transport::smtp::Error) -> Fault {
    let mut words = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
        cause = inner.source();
    }
    let words = crate::alert::message::plain(&words.join(": "), 300);
    if refuses_message(error) { Fault::Refused(words) } else { Fault::later(words) }
}
