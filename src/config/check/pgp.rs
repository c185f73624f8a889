//! Keys for files in OpenPGP.

use std::sync::Arc;

use super::{Check, Key};
use crate::config::meant::{Pgp, PgpKey};
use crate::config::value::quoted;
use crate::config::written::{self, Signature};
use crate::openpgp;

impl Check<'_> {
    pub(super) fn pgp(&mut self, key: &Key, feed: &written::Feed) -> Option<Arc<Pgp>> {
        let here = key.child("pgp");
        let written = feed.pgp.as_ref()?;
        let mut keys = Vec::new();
        for (name, one) in &written.keys {
            let here = here.child("keys").child(name);
            let place = self.required(&here.child("key"), one.key.as_ref(), "key = { file = \"PATH\" }");
            let secret = place.and_then(|place| self.secret(&here.child("key"), &place));
            let passphrase = one.passphrase.as_ref().and_then(|place| self.secret(&here.child("passphrase"), place));
            keys.extend(secret.map(|key| PgpKey { name: name.clone(), key, passphrase }));
        }
        let mut signed_by = Vec::new();
        for path in &written.signed_by {
            let here = here.child("signed_by");
            let path = self.path(&here, path);
            let read = openpgp::public_keys(&path).map_err(|fault| format!("{} {fault}", quoted(&path.display().to_string())));
            if self.good(&here, read).is_some() {
                signed_by.push(path);
            }
        }
        let required = written.signature.map_or(!written.signed_by.is_empty(), |signature| signature == Signature::Required);
        if required && written.signed_by.is_empty() {
            self.fault(&here.child("signature"), "needs to know whose; write signed_by = [\"PATH OF A PUBLIC KEY\"]".into());
        }
        if written.keys.is_empty() && written.signed_by.is_empty() {
            self.fault(&here, "names no key; write keys.NAME = { key = { file = \"PATH\" } } or signed_by = [\"PATH\"]".into());
        }
        Some(Arc::new(Pgp { keys, signed_by, required }))
    }
}
