//! Who may come in: people with passwords and programs with tokens, in one file that holds neither, only what proves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::secret::{Secret, SecretPlace};
use crate::spool::hex;

/// What somebody may do. An approver may all that a viewer may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks; personal columns are masked
    Viewer,
    /// Decides, corrects rows, sees personal columns
    Approver,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Approver => "approver",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: BTreeMap<String, UserEntry>,
    #[serde(default)]
    token: BTreeMap<String, TokenEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    role: Role,
    hash: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    role: Role,
    sha256: String,
}

/// Everybody in the file.
#[derive(Default)]
pub struct People {
    users: BTreeMap<String, UserEntry>,
    /// SHA-256 of each token.
    tokens: Vec<(String, Role, Vec<u8>)>,
    /// Hash that no password has, and that costs what the others cost: an unknown name is answered no sooner than a known one.
    nobody: String,
}

/// Letters that names are made of: they stand in logs, in reports and in a header of TOML.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@'))
}

/// Passwords longer than this are refused before they are hashed.
pub const PASSWORD_MAX: usize = 1024;
const PASSWORD_MIN: usize = 12;

/// Memory in KiB times passes, and memory, below which a hash is too weak (OWASP's weakest choice for Argon2id: 7 MiB, 5 passes).
const COST_MIN: u64 = 7168 * 5;
const MEMORY_MIN: u32 = 7168;

impl People {
    /// Reads the file. Fails where others may read it, and with what is wrong in it.
    pub fn read(path: &Path) -> anyhow::Result<People> {
        let text = Secret::new(SecretPlace::File(path.to_owned())).read()?;
        People::parse(text.expose_secret()).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<People> {
        // What the parser quotes may be a hash: only the place is told.
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            anyhow!("line {line}: {}", error.message())
        })?;
        for name in file.user.keys().chain(file.token.keys()) {
            if !is_name(name) {
                bail!("{name:?} is no name; write at most 64 letters, digits, \"-\", \"_\", \".\" and \"@\"");
            }
        }
        for (name, user) in &file.user {
            strong(&user.hash).with_context(|| format!("user {name}"))?;
        }
        let mut tokens = Vec::new();
        for (name, token) in &file.token {
            let digest = (0..token.sha256.len()).step_by(2).map(|at| u8::from_str_radix(token.sha256.get(at..at + 2)?, 16).ok());
            let digest = digest.collect::<Option<Vec<u8>>>().filter(|digest| digest.len() == 32);
            tokens.push((name.clone(), token.role, digest.with_context(|| format!("token {name}: sha256 is not 64 hexadecimal digits"))?));
        }
        let like = file.user.values().next().map(|user| user.hash.as_str());
        Ok(People { nobody: hash_of_nobody(like)?, users: file.user, tokens })
    }

    /// The role of somebody whose password this is. Takes as long where there is no such name.
    pub fn prove(&self, name: &str, password: &str) -> Option<Role> {
        let known = self.users.get(name);
        let hash = known.map_or(self.nobody.as_str(), |user| user.hash.as_str());
        let right = PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
        known.filter(|_| right).map(|user| user.role)
    }

    /// The role of somebody who came in before, as long as the password is still the same. `proof` is [`People::proof`] of then.
    pub fn role_of(&self, name: &str, proof: &str) -> Option<Role> {
        self.users.get(name).filter(|_| self.proof(name) == proof).map(|user| user.role)
    }

    /// Stands for somebody's password: another one makes another.
    pub fn proof(&self, name: &str) -> String {
        self.users.get(name).map(|user| hex(&openssl::sha::sha256(user.hash.as_bytes()))).unwrap_or_default()
    }

    /// Whose token this is. A token is 256 random bits, so that one round of SHA-256 is all that a guess should cost: unlike a password it
    /// cannot be guessed, and a slow hash would make each request slow.
    pub fn token(&self, given: &str) -> Option<(&str, Role)> {
        let digest = openssl::sha::sha256(given.as_bytes());
        let mut found = None;
        for (name, role, known) in &self.tokens {
            if openssl::memcmp::eq(known, &digest) {
                found = Some((name.as_str(), *role));
            }
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }
}

/// Fails where a hash is not Argon2id's, or weaker than it should be.
fn strong(hash: &str) -> anyhow::Result<()> {
    const AGAIN: &str = "make it with passferry review --add-user";
    let hash = PasswordHash::new(hash).map_err(|_| anyhow!("hash is not one of Argon2id; {AGAIN}"))?;
    let params = Params::try_from(&hash).map_err(|_| anyhow!("hash is not one of Argon2id; {AGAIN}"))?;
    let weak = params.m_cost() < MEMORY_MIN || u64::from(params.m_cost()) * u64::from(params.t_cost()) < COST_MIN;
    match (hash.algorithm == argon2::ARGON2ID_IDENT, weak) {
        (true, false) => Ok(()),
        (true, true) => bail!("hash is too weak; {AGAIN}"),
        (false, _) => bail!("hash is not one of Argon2id; {AGAIN}"),
    }
}

fn hash_of_nobody(like: Option<&str>) -> anyhow::Result<String> {
    let params = match like {
        Some(like) => {
            Params::try_from(&PasswordHash::new(like).map_err(|error| anyhow!("{error}"))?).map_err(|error| anyhow!("{error}"))?
        }
        None => Params::default(),
    };
    hash_with(&random_hex()?, params)
}

fn hash_with(password: &str, params: Params) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    openssl::rand::rand_bytes(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| anyhow!("{error}"))?;
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    Ok(argon2.hash_password(password.as_bytes(), &salt).map_err(|error| anyhow!("{error}"))?.to_string())
}

/// 256 random bits in hexadecimal digits.
pub fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(hex(&bytes))
}

fn check_name(name: &str) -> anyhow::Result<()> {
    anyhow::ensure!(is_name(name), "{name:?} is no name; write at most 64 letters, digits, \"-\", \"_\", \".\" and \"@\"");
    Ok(())
}

/// What to put into the file for somebody with this password.
pub fn user_entry(name: &str, role: Role, password: &str) -> anyhow::Result<String> {
    check_name(name)?;
    anyhow::ensure!(password.chars().count() >= PASSWORD_MIN, "the password is too short; at least {PASSWORD_MIN} characters");
    anyhow::ensure!(password.len() <= PASSWORD_MAX, "the password is too long; at most {PASSWORD_MAX} bytes");
    let hash = hash_with(password, Params::default())?;
    Ok(format!("\n[user.\"{name}\"]\n{}", toml::to_string(&UserEntry { role, hash })?))
}

/// A new token, and what to put into the file for it.
pub fn token_entry(name: &str, role: Role) -> anyhow::Result<(String, String)> {
    check_name(name)?;
    let token = format!("pf_{}", random_hex()?);
    let entry = TokenEntry { role, sha256: hex(&openssl::sha::sha256(token.as_bytes())) };
    Ok((token, format!("\n[token.\"{name}\"]\n{}", toml::to_string(&entry)?)))
}

/// The file, read again when it changed.
pub struct PeopleFile {
    path: PathBuf,
    known: Mutex<Option<(Stamp, Arc<People>)>>,
}

/// When it was last changed, and how long it is.
type Stamp = (SystemTime, u64, u64);

impl PeopleFile {
    pub fn new(path: PathBuf) -> PeopleFile {
        PeopleFile { path, known: Mutex::default() }
    }

    /// Those in the file as it is now. Nobody, where it cannot be read: whoever was taken out of it must not stay in by a fault in it.
    pub fn now(&self) -> anyhow::Result<Arc<People>> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(&self.path).with_context(|| self.path.display().to_string())?;
        let stamp = (meta.modified()?, meta.len(), meta.ino());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, people)) = known.as_ref().filter(|(then, _)| *then == stamp) {
            return Ok(Arc::clone(people));
        }
        *known = None;
        let people = Arc::new(People::read(&self.path)?);
        *known = Some((stamp, Arc::clone(&people)));
        Ok(people)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_proves_its_owner_and_nobody_else() {
        let text = user_entry("anna", Role::Approver, "correct horse battery").unwrap()
            + &user_entry("ben", Role::Viewer, "another one, long").unwrap();
        let people = People::parse(&text).unwrap();
        assert_eq!(people.prove("anna", "correct horse battery"), Some(Role::Approver));
        assert_eq!(people.prove("ben", "correct horse battery"), None);
        assert_eq!(people.prove("nobody", "correct horse battery"), None);
        assert!(!text.contains("horse"));
        let cost = |hash: &str| Params::try_from(&PasswordHash::new(hash).unwrap()).unwrap();
        assert_eq!(cost(&people.nobody), cost(&people.users["anna"].hash), "an unknown name costs what a known one does");
    }

    #[test]
    fn a_token_is_kept_as_a_digest() {
        let (token, entry) = token_entry("ci", Role::Viewer).unwrap();
        assert!(token.len() == 3 + 64 && !entry.contains(&token));
        let people = People::parse(&entry).unwrap();
        assert_eq!(people.token(&token), Some(("ci", Role::Viewer)));
        assert_eq!(people.token("pf_"), None);
    }

    #[test]
    fn weak_hashes_and_strange_names_are_refused() {
        let weak = hash_with("x", Params::new(1024, 1, 1, None).unwrap()).unwrap();
        for (text, says) in [
            (format!("[user.a]\nrole = \"viewer\"\nhash = \"{weak}\""), "too weak"),
            ("[user.a]\nrole = \"viewer\"\nhash = \"secret-in-clear\"".to_owned(), "not one of Argon2id"),
            ("[user.a]\nrole = \"boss\"\nhash = \"x\"".to_owned(), "line 2"),
            ("[user.\"a b\"]\nrole = \"viewer\"\nhash = \"x\"".to_owned(), "no name"),
            ("[token.t]\nrole = \"viewer\"\nsha256 = \"12\"".to_owned(), "64 hexadecimal"),
        ] {
            let said = format!("{:#}", People::parse(&text).err().unwrap());
            assert!(said.contains(says) && !said.contains("secret-in-clear"), "{said}");
        }
        assert!(user_entry("anna", Role::Viewer, "short").is_err() && user_entry("a b", Role::Viewer, "long enough, really").is_err());
    }
}
