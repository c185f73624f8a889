//! Proves to a trusted server who we are.

use libssh2_sys as raw;
use openssl::base64;
use secrecy::{ExposeSecret, SecretString};
use ssh2::{ErrorCode, KeyboardInteractivePrompt, Prompt, Session};

use super::connect::Deadline;
use super::error::from_ssh2;
use crate::config::meant::Login;
use crate::secret::Secret;
use crate::source::{Result, SourceError};

/// Keys of an agent that are offered. Servers cut the connection, or block the user, after a few that fail.
const AGENT_KEYS_MAX: usize = 5;

/// What a login needs, read and checked before the server is bothered.
pub enum Credentials {
    Key { key: SecretString, passphrase: Option<SecretString>, place: String },
    Password(SecretString),
    Agent,
}

impl Credentials {
    /// Fails when a secret cannot be read, or a key could not be used whatever the server says.
    pub fn load(login: &Login) -> Result<Credentials> {
        Ok(match login {
            Login::Password(password) => Credentials::Password(read(password)?),
            Login::Agent => Credentials::Agent,
            Login::Key { key, passphrase } => {
                let place = key.place.to_string();
                let key = read(key)?;
                let passphrase = passphrase.as_ref().map(read).transpose()?;
                match key_form(key.expose_secret()) {
                    KeyForm::Encrypted if passphrase.is_none() => {
                        return Err(SourceError::Other(format!(
                            "the private key in {place} is encrypted; give its passphrase = {{ file = \"…\" }} beside it"
                        )));
                    }
                    KeyForm::Other(fault) => return Err(SourceError::Other(format!("{place} {fault}"))),
                    KeyForm::Plain | KeyForm::Encrypted => {}
                }
                Credentials::Key { key, passphrase, place }
            }
        })
    }

    /// Logs in within the deadline. `Auth` means that the server was reached, is the right one, and said no.
    pub fn log_in(&self, session: &Session, user: &str, deadline: Deadline) -> Result<()> {
        deadline.apply(session)?;
        let methods = match session.auth_methods(user) {
            Ok(methods) => methods.to_owned(),
            // A server that asks for no proof at all answers this with success.
            Err(_) if session.authenticated() => return Ok(()),
            Err(error) => return Err(from_ssh2(&error, deadline.phase, "as this user")),
        };
        let attempt = Attempt { session, user, methods: &methods, deadline };
        match self {
            Credentials::Key { key, passphrase, place } => attempt.key(key, passphrase.as_ref(), place),
            Credentials::Password(password) => attempt.password(password),
            Credentials::Agent => attempt.agent(),
        }
    }
}

struct Attempt<'a> {
    session: &'a Session,
    user: &'a str,
    /// Comma-separated, as the server names them.
    methods: &'a str,
    deadline: Deadline,
}

impl Attempt<'_> {
    fn key(&self, key: &SecretString, passphrase: Option<&SecretString>, place: &str) -> Result<()> {
        self.deadline.apply(self.session)?;
        // PEM ends with a line end, which reading a secret drops.
        let text = SecretString::from(format!("{}\n", key.expose_secret()));
        let phrase = passphrase.map(ExposeSecret::expose_secret);
        self.session.userauth_pubkey_memory(self.user, None, text.expose_secret(), phrase).map_err(|error| match error.code() {
            // libssh2 calls a key that it cannot open an unsupported file, whatever the cause.
            ErrorCode::Session(raw::LIBSSH2_ERROR_FILE | raw::LIBSSH2_ERROR_KEYFILE_AUTH_FAILED | raw::LIBSSH2_ERROR_DECRYPT) => {
                SourceError::Other(match phrase {
                    Some(_) if key_form(key.expose_secret()) == KeyForm::Encrypted => {
                        format!("the passphrase does not open the private key in {place}")
                    }
                    _ => format!("the private key in {place} cannot be used ({}); supported are RSA, ECDSA and Ed25519", error.message()),
                })
            }
            _ => self.refused(&error, &format!("the key in {place}")),
        })
    }

    fn password(&self, password: &SecretString) -> Result<()> {
        self.deadline.apply(self.session)?;
        let has = |wanted| self.methods.split(',').any(|method| method == wanted);
        let result = if !has("password") && has("keyboard-interactive") {
            self.session.userauth_keyboard_interactive(self.user, &mut AnswerPassword(password))
        } else {
            self.session.userauth_password(self.user, password.expose_secret())
        };
        result.map_err(|error| match error.code() {
            ErrorCode::Session(raw::LIBSSH2_ERROR_PASSWORD_EXPIRED) => {
                SourceError::Auth(format!("the password of {} has expired", self.user))
            }
            _ => self.refused(&error, "the password"),
        })
    }

    fn agent(&self) -> Result<()> {
        let no_agent = |error: ssh2::Error| {
            SourceError::Other(format!("login by agent, but none answers at $SSH_AUTH_SOCK ({}); start it or give a key", error.message()))
        };
        let mut agent = self.session.agent().map_err(no_agent)?;
        agent.connect().map_err(no_agent)?;
        agent.list_identities().map_err(no_agent)?;
        let keys = agent.identities().map_err(no_agent)?;
        let mut last = SourceError::Other("the SSH agent holds no keys; add one with ssh-add".to_owned());
        for key in keys.iter().take(AGENT_KEYS_MAX) {
            self.deadline.apply(self.session)?;
            match agent.userauth(self.user, key) {
                Ok(()) => return Ok(()),
                Err(error) => last = self.refused(&error, &format!("key {:?} of the agent", key.comment())),
            }
            if !matches!(last, SourceError::Auth(_)) {
                break;
            }
        }
        Err(last)
    }

    /// Tells a refusal from a connection that broke meanwhile.
    fn refused(&self, error: &ssh2::Error, what: &str) -> SourceError {
        match error.code() {
            ErrorCode::Session(raw::LIBSSH2_ERROR_AUTHENTICATION_FAILED | raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) => {
                SourceError::Auth(format!(
                    "user {:?} with {what}; the server takes: {}. Check the user, and that the server knows this credential",
                    self.user, self.methods
                ))
            }
            _ => match from_ssh2(error, self.deadline.phase, "") {
                SourceError::Unreachable(_) => {
                    SourceError::Unreachable(format!("the connection broke during the login of {:?}: {}", self.user, error.message()))
                }
                other => other,
            },
        }
    }
}

/// Answers every hidden question with the password, as servers that ask through PAM mean it.
struct AnswerPassword<'a>(&'a SecretString);

impl KeyboardInteractivePrompt for AnswerPassword<'_> {
    fn prompt(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        prompts.iter().map(|prompt| if prompt.echo { String::new() } else { self.0.expose_secret().to_owned() }).collect()
    }
}

fn read(secret: &Secret) -> Result<SecretString> {
    secret.read().map_err(|error| SourceError::Other(format!("cannot log in: {error}")))
}

#[derive(Debug, PartialEq, Eq)]
enum KeyForm {
    Plain,
    Encrypted,
    /// Continues a sentence that begins with the key's place.
    Other(&'static str),
}

/// What a private key's text is. libssh2 reports a missing passphrase as an unsupported format.
fn key_form(text: &str) -> KeyForm {
    let text = text.trim();
    if text.starts_with("PuTTY-User-Key-File") {
        return KeyForm::Other("is a PuTTY key; export it in OpenSSH form with PuTTYgen (Conversions, Export OpenSSH key)");
    }
    if ["ssh-", "ecdsa-", "---- BEGIN SSH2 PUBLIC", "-----BEGIN PUBLIC"].iter().any(|head| text.starts_with(head)) {
        return KeyForm::Other("is a public key; the private one is needed");
    }
    let Some(head) = text.lines().next().filter(|line| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----")) else {
        return KeyForm::Other("is not a private key; it begins with -----BEGIN … PRIVATE KEY-----");
    };
    let encrypted = if head.contains("OPENSSH") {
        openssh_cipher(text).is_some_and(|cipher| cipher != b"none")
    } else {
        head.contains("ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED")
    };
    if encrypted { KeyForm::Encrypted } else { KeyForm::Plain }
}

/// The cipher's name in an OpenSSH private key (PROTOCOL.key in its sources): a magic, then a counted name.
fn openssh_cipher(text: &str) -> Option<Vec<u8>> {
    let body: String = text.lines().skip(1).take_while(|line| !line.starts_with("-----")).map(str::trim).take(2).collect();
    let whole = body.len() - body.len() % 4;
    let decoded = base64::decode_block(body.get(..whole)?).ok()?;
    let (length, rest) = decoded.strip_prefix(b"openssh-key-v1\0")?.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openssh(cipher: &str) -> String {
        let mut body = b"openssh-key-v1\0".to_vec();
        body.extend_from_slice(&u32::try_from(cipher.len()).unwrap().to_be_bytes());
        body.extend_from_slice(cipher.as_bytes());
        body.extend_from_slice(&[0; 60]);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----", base64::encode_block(&body))
    }

    #[test]
    fn forms_of_keys_are_told_apart() {
        assert_eq!(key_form(&openssh("none")), KeyForm::Plain);
        assert_eq!(key_form(&openssh("aes256-ctr")), KeyForm::Encrypted);
        assert_eq!(key_form("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA"), KeyForm::Encrypted);
        assert_eq!(key_form("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA"), KeyForm::Encrypted);
        assert_eq!(key_form("-----BEGIN RSA PRIVATE KEY-----\nAAAA"), KeyForm::Plain);
        for odd in ["", "hello", "ssh-ed25519 AAAA me", "PuTTY-User-Key-File-3: ssh-rsa", "-----BEGIN CERTIFICATE-----"] {
            assert!(matches!(key_form(odd), KeyForm::Other(_)), "{odd:?}");
        }
    }
}
