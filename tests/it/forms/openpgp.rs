//! Files that GnuPG encrypted and signed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{correct, piped, plan, python};
use crate::rig::harbour::{Harbour, Plan, write_private};
use crate::rig::promises::check_promises;

const TEXT: &str = "id,points,tier\nC-1,10,gold\nC-2,x,silver\n";
const PASSPHRASE: &str = "correct horse";

/// A keyring of GnuPG's own, gone with the test.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    /// With a key of each name; that of `locked` has the passphrase.
    fn with(names: &[&str]) -> Gpg {
        // GnuPG wants its folder for itself.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let gpg = Gpg { home: tempfile::Builder::new().permissions(private).tempdir().unwrap() };
        // A key is tried in a debug build: few rounds spare the test seconds.
        std::fs::write(gpg.home.path().join("gpg-agent.conf"), "s2k-count 65536\nallow-loopback-pinentry\n").unwrap();
        for name in names {
            let passphrase = if *name == "locked" { PASSPHRASE } else { "" };
            gpg.run(&["--passphrase", passphrase, "--quick-gen-key", &user(name), "future-default", "default", "never"], b"");
        }
        gpg
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let home = self.home.path().to_str().unwrap();
        let always = ["--homedir", home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--trust-model", "always"];
        piped("gpg", &[&always, args].concat(), input)
    }

    fn encrypt(&self, args: &[&str], text: &[u8]) -> Vec<u8> {
        self.run(&[args, &["--encrypt"]].concat(), text)
    }

    fn secret(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(format!("{name}.secret"));
        let key = self.run(&["--passphrase", PASSPHRASE, "--armor", "--export-secret-keys", &user(name)], b"");
        write_private(&path, &String::from_utf8(key).unwrap());
        path
    }

    fn public(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(format!("{name}.public"));
        std::fs::write(&path, self.run(&["--export", &user(name)], b"")).unwrap();
        path
    }

    /// A harbour whose feed has these keys.
    fn plan(&self, secret: &str, more: &str) -> Plan {
        plan().feed("pgp", &format!("{{ keys.new = {{ key = {{ file = \"{}\" }} }}{more} }}", self.secret(secret).display()))
    }

    fn signed_by(&self, name: &str) -> String {
        format!(", signed_by = [\"{}\"]", self.public(name).display())
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let kill = ["--homedir", self.home.path().to_str().unwrap(), "--kill", "all"];
        let _ = Command::new("gpgconf").args(kill).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn user(name: &str) -> String {
    format!("{name}@example.org")
}

#[test]
fn encrypted_files_are_opened_in_every_form() {
    let gpg = Gpg::with(&["us", "locked", "sender"]);
    let packed = python("import sys, gzip; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))", TEXT.as_bytes());
    let (to_us, to_old) = (["-r", "us@example.org"], ["-r", "locked@example.org"]);
    let signed = ["-r", "us@example.org", "-u", "sender@example.org", "--sign"];
    let more = format!(
        ", keys.old = {{ key = {{ file = {:?} }}, passphrase = {{ file = {:?} }} }}{}, signature = \"optional\"",
        gpg.secret("locked"),
        {
            let path = gpg.home.path().join("passphrase");
            write_private(&path, PASSPHRASE);
            path
        },
        gpg.signed_by("sender")
    );
    for (name, bytes, containers) in [
        ("points.csv.gpg", gpg.encrypt(&to_us, TEXT.as_bytes()), vec!["openpgp (encrypted)"]),
        ("points.csv.asc", gpg.encrypt(&[&to_us[..], &["--armor"]].concat(), TEXT.as_bytes()), vec!["openpgp (encrypted)"]),
        ("points.csv.gz.pgp", gpg.encrypt(&to_us, &packed), vec!["openpgp (encrypted)", "gzip"]),
        ("points.csv.pgp", gpg.encrypt(&to_old, TEXT.as_bytes()), vec!["openpgp (encrypted)"]),
        ("points.csv", gpg.encrypt(&signed, TEXT.as_bytes()), vec!["openpgp (encrypted, signed by "]),
        ("points.csv", gpg.run(&["-u", "sender@example.org", "--sign"], TEXT.as_bytes()), vec!["openpgp (signed by "]),
        ("points.csv", TEXT.as_bytes().to_vec(), vec![]),
    ] {
        let harbour = gpg.plan("us", &more).start();
        harbour.deliver(name, &bytes);
        harbour.once().exits(1);
        assert_eq!(harbour.points("C-1"), 10.0);
        let report = harbour.report("points");
        let found = report["file"]["dialect"]["containers"].as_array().cloned().unwrap_or_default();
        assert_eq!(found.len(), containers.len(), "{found:?}");
        for (found, begins) in found.iter().zip(&containers) {
            assert!(found.as_str().unwrap().starts_with(begins), "{found} {begins}");
        }
        assert_eq!(harbour.read(&format!(".processed/{name}")), bytes, "the delivered bytes are what is kept");
        correct(&harbour, "points", b",x,", b",11,");
        harbour.once().exits(0);
        assert_eq!(harbour.points("C-2"), 11.0);
        check_promises(&harbour);
    }
}

/// The file fails with this code and these words, and nothing was asked of the platform.
#[track_caller]
fn refused(plan: Plan, bytes: &[u8], code: &str, words: &str) -> Harbour {
    let harbour = plan.start();
    harbour.deliver("points.csv.gpg", bytes);
    harbour.once().exits(65);
    let fault = harbour.report("points")["fault"].clone();
    assert_eq!(fault["code"], code, "{fault}");
    assert!(fault["message"].as_str().unwrap().contains(words), "{fault}");
    assert_eq!(harbour.sandbox.requests().total(), 0);
    check_promises(&harbour);
    harbour
}

/// The key ID that stands in a file's report is what `gpg` shows of that key.
#[test]
fn a_file_for_another_key_says_for_which() {
    let gpg = Gpg::with(&["us", "other"]);
    let bytes = gpg.encrypt(&["-r", "other@example.org"], TEXT.as_bytes());
    let listed = String::from_utf8(gpg.run(&["--with-colons", "--list-keys", "other@example.org"], b"")).unwrap();
    let id = listed.lines().find(|line| line.starts_with("sub:")).unwrap().split(':').nth(4).unwrap().to_owned();
    refused(gpg.plan("us", ""), &bytes, "decryption-error", &format!("encrypted for key {id}, and no key of the feed opens it"));
    refused(plan(), &bytes, "decryption-error", &format!("encrypted with OpenPGP for key {id}, and the feed has no key"));
}

#[test]
fn only_a_trusted_signature_counts() {
    let gpg = Gpg::with(&["us", "sender", "stranger"]);
    let trusting = || gpg.plan("us", &gpg.signed_by("sender"));
    let to_us = ["-r", "us@example.org"];
    refused(trusting(), &gpg.encrypt(&to_us, TEXT.as_bytes()), "signature-error", "not signed");
    refused(trusting(), TEXT.as_bytes(), "signature-error", "not signed");
    let by_stranger = gpg.encrypt(&["-r", "us@example.org", "-u", "stranger@example.org", "--sign"], TEXT.as_bytes());
    refused(trusting(), &by_stranger, "signature-error", "is of no valid key that the feed trusts");
    let optional = gpg.plan("us", &format!("{}, signature = \"optional\"", gpg.signed_by("sender")));
    refused(optional, &by_stranger, "signature-error", "is of no valid key that the feed trusts");
    let weak = ["-r", "us@example.org", "-u", "sender@example.org", "--digest-algo", "SHA1", "--sign"];
    refused(trusting(), &gpg.encrypt(&weak, TEXT.as_bytes()), "signature-error", "is of no valid key that the feed trusts");
    let clear = gpg.run(&["-u", "sender@example.org", "--clearsign"], TEXT.as_bytes());
    refused(trusting(), &clear, "signature-error", "cleartext signature");
}

/// Whatever was readable before, nothing of it is used.
#[test]
fn a_file_cut_short_or_altered_fails() {
    let gpg = Gpg::with(&["us", "sender"]);
    let long: String = (0..2000).map(|n| format!("C-{n},{n},{:x}\n", n * 7919)).collect();
    let text = format!("id,points,tier\n{long}");
    let plain = ["-r", "us@example.org", "--compress-algo", "none"];
    let whole = gpg.encrypt(&plain, text.as_bytes());
    let altered = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let signed = gpg.run(&["-u", "sender@example.org", "--compress-algo", "none", "--sign"], text.as_bytes());
    let mut signed_altered = signed.clone();
    let at = memchr::memmem::find(&signed, b"C-77,77").unwrap() + 5;
    signed_altered[at] = b'9';
    for bytes in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &altered(whole.len() / 2), &altered(whole.len() - 3)] {
        refused(gpg.plan("us", ""), bytes, "decryption-error", "nothing of it is used");
    }
    let trusting = || gpg.plan("us", &gpg.signed_by("sender"));
    refused(trusting(), &signed_altered, "signature-error", "is of no valid key that the feed trusts");
    refused(trusting(), &signed[..signed.len() - 10], "decryption-error", "nothing of it is used");
}

/// A key that cannot be unlocked is no fault of the file, which is taken once the passphrase is right.
#[test]
fn a_wrong_passphrase_is_told_and_the_file_waits() {
    let gpg = Gpg::with(&["locked"]);
    let passphrase = gpg.home.path().join("passphrase");
    write_private(&passphrase, "wrong staple");
    let pgp = format!("{{ keys.ours = {{ key = {{ file = {:?} }}, passphrase = {{ file = {passphrase:?} }} }} }}", gpg.secret("locked"));
    let harbour = plan().feed("pgp", &pgp).start();
    harbour.deliver("points.csv.gpg", gpg.encrypt(&["-r", "locked@example.org"], b"id,points,tier\nC-1,10,gold\n"));
    let told = harbour.once();

    assert!(told.err.contains("the passphrase of the OpenPGP key ours does not unlock it"), "{}", told.err);
    assert!(!told.err.contains("staple"), "{}", told.err);
    write_private(&passphrase, PASSPHRASE);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 10.0);
    check_promises(&harbour);
}
