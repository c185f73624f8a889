//! Our own secret keys, as the configuration names them.

use std::fmt;
use std::io;

use pgp::composed::{Esk, SignedSecretKey};
use pgp::packet::Signature;
use pgp::types::{KeyDetails, Password, SigningKey};
use secrecy::ExposeSecret as _;

use super::{Signer, id, newest, secret_keys};
use crate::config::meant::PgpKey;

/// Secret keys from one place.
pub struct Held<'a> {
    from: &'a PgpKey,
    pub keys: Vec<SignedSecretKey>,
    pub passphrase: Option<Password>,
}

impl<'a> Held<'a> {
    /// That a key of ours cannot be read is no fault of the file.
    pub fn read(from: &'a PgpKey) -> io::Result<Held<'a>> {
        let unread = |error: &dyn fmt::Display| unread(from, error);
        let text = from.key.read().map_err(|error| unread(&error))?;
        let keys = secret_keys(text.expose_secret()).map_err(|fault| unread(&format!("{} {fault}", from.key.place)))?;
        Ok(Held { from, keys, passphrase: passphrase(from)? })
    }

    /// Fails where the message is meant for a key that cannot be unlocked: then it is the passphrase that is wrong, not the file.
    pub fn opens(&self, wanted: &[Esk]) -> io::Result<()> {
        let none = Password::empty();
        let passphrase = self.passphrase.as_ref().unwrap_or(&none);
        for esk in wanted {
            let Esk::PublicKeyEncryptedSessionKey(esk) = esk else { continue };
            for key in &self.keys {
                let primary = esk.match_identity(key.primary_key.public_key())
                    && !matches!(key.primary_key.unlock(passphrase, |_, _| Ok(())), Ok(Ok(())));
                let sub = key.secret_subkeys.iter().any(|sub| {
                    esk.match_identity(sub.key.public_key()) && !matches!(sub.key.unlock(passphrase, |_, _| Ok(())), Ok(Ok(())))
                });
                if primary || sub {
                    return Err(self.locked());
                }
            }
        }
        Ok(())
    }

    fn locked(&self) -> io::Error {
        let name = &self.from.name;
        io::Error::other(if self.passphrase.is_some() {
            format!("the passphrase of the OpenPGP key {name} does not unlock it; correct pgp.keys.{name}.passphrase")
        } else {
            format!("the OpenPGP key {name} is locked; write pgp.keys.{name}.passphrase = {{ file = \"PATH\" }}")
        })
    }

    /// What it signs with: a subkey for signing where the key has one, as GnuPG takes it.
    pub fn signer(&self) -> io::Result<Signer<'_>> {
        let signs = |own: &[Signature]| newest(own.iter()).is_some_and(|binding| binding.key_flags().sign());
        let passphrase = passphrase(self.from)?.unwrap_or_else(Password::empty);
        // One file holds one key as a rule; the first says who we are.
        let Some(key) = self.keys.first() else { return Err(io::Error::other(format!("the OpenPGP key {} is none", self.from.name))) };
        let subkey = key.secret_subkeys.iter().filter(|subkey| signs(&subkey.signatures));
        let (part, unlocks): (&dyn SigningKey, bool) = match subkey.max_by_key(|subkey| subkey.key.created_at().as_secs()) {
            Some(subkey) => (&subkey.key, matches!(subkey.key.unlock(&passphrase, |_, _| Ok(())), Ok(Ok(())))),
            None => (&key.primary_key, matches!(key.primary_key.unlock(&passphrase, |_, _| Ok(())), Ok(Ok(())))),
        };
        if unlocks { Ok(Signer { part, passphrase }) } else { Err(self.locked()) }
    }

    /// Its name and the IDs that a file may be encrypted for.
    pub fn ids(&self) -> String {
        let ids = self.keys.iter().flat_map(|key| {
            let subkeys = key.secret_subkeys.iter().map(|sub| id(&sub.key.legacy_key_id()));
            std::iter::once(id(&key.primary_key.legacy_key_id())).chain(subkeys)
        });
        format!("{} ({})", self.from.name, ids.collect::<Vec<_>>().join(", "))
    }
}

fn unread(from: &PgpKey, error: &dyn fmt::Display) -> io::Error {
    io::Error::other(format!("the OpenPGP key {} cannot be read: {error}", from.name))
}

fn passphrase(from: &PgpKey) -> io::Result<Option<Password>> {
    let read = from.passphrase.as_ref().map(|secret| secret.with(|text| Password::from(text)));
    read.transpose().map_err(|error| unread(from, &error))
}
