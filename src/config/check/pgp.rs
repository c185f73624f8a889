//! Keys for files and reports in OpenPGP.

use std::sync::Arc;

use super::{Check, Key};
use crate::config::meant::Pgp;
use crate::config::written;

impl Check<'_> {
    #[cfg(not(feature = "pgp"))]
    pub(super) fn pgp(&mut self, key: &Key, feed: &written::Feed) -> Option<Arc<Pgp>> {
        feed.pgp.as_ref()?;
        self.fault(
            &key.child("pgp"),
            "needs OpenPGP, which this passferry was built without; use a build with the Cargo feature pgp".into(),
        );
        None
    }

    #[cfg(feature = "pgp")]
    pub(super) fn pgp(&mut self, key: &Key, feed: &written::Feed) -> Option<Arc<Pgp>> {
        use crate::config::meant::PgpKey;
        use crate::config::value::{choices, quoted};
        use crate::config::written::Signature;
        use crate::openpgp;

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
        let mut of_others = |list: &str, paths: &[String], good: &dyn Fn(Vec<openpgp::Public>) -> Result<(), String>| {
            let here = here.child(list);
            let mut known = Vec::new();
            for path in paths {
                let path = self.path(&here, path);
                let read = openpgp::public_keys(&path).and_then(good);
                let read = read.map_err(|fault| format!("{} {fault}", quoted(&path.display().to_string())));
                if self.good(&here, read).is_some() {
                    known.push(path);
                }
            }
            known
        };
        let signed_by = of_others("signed_by", &written.signed_by, &|_| Ok(()));
        let now = openpgp::now();
        let encrypt_to = of_others("encrypt_to", &written.encrypt_to, &|keys| openpgp::recipients(keys, now).map(drop));
        let required = written.signature.map_or(!written.signed_by.is_empty(), |signature| signature == Signature::Required);
        if required && written.signed_by.is_empty() {
            self.fault(&here.child("signature"), "needs to know whose; write signed_by = [\"PATH OF A PUBLIC KEY\"]".into());
        }
        if written.keys.is_empty() && written.signed_by.is_empty() && written.encrypt_to.is_empty() {
            let instead =
                "names no key; write keys.NAME = { key = { file = \"PATH\" } }, signed_by = [\"PATH\"] or encrypt_to = [\"PATH\"]";
            self.fault(&here, instead.into());
        }
        let sign_with = written.sign_with.as_ref().and_then(|wanted| {
            let here = here.child("sign_with");
            let known: Vec<&str> = written.keys.keys().map(String::as_str).collect();
            if !known.contains(&wanted.as_str()) {
                let instead = if known.is_empty() { "keys.NAME = { key = { file = \"PATH\" } }".to_owned() } else { choices(&known) };
                self.fault(&here, format!("{} is no key under pgp.keys; write {instead}", quoted(wanted)));
            } else if written.encrypt_to.is_empty() {
                self.fault(&here, "signs reports that are encrypted; write encrypt_to = [\"PATH OF A PUBLIC KEY\"] too".into());
            }
            keys.iter().find(|key| key.name == *wanted).cloned()
        });
        Some(Arc::new(Pgp { keys, signed_by, required, encrypt_to, sign_with }))
    }
}
