//! Files that GnuPG encrypted and signed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{correct, piped, plan, python};
use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::harbour::{Harbour, Plan, write_private};
use crate::rig::promises::check_promises;

const TEXT: &str = "id,points,tier\nC-1,10,gold\nC-2,x,silver\n";
const PASSPHRASE: &str = "correct horse";

/// A keyring of GnuPG's own, gone with the test.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    /// With a key of each name; that of `locked` has the passphrase, and that of `notary` is for signing alone.
    fn with(names: &[&str]) -> Gpg {
        // GnuPG wants its folder for itself.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let gpg = Gpg { home: tempfile::Builder::new().permissions(private).tempdir().unwrap() };
        // A key is tried in a debug build: few rounds spare the test seconds.
        std::fs::write(gpg.home.path().join("gpg-agent.conf"), "s2k-count 65536\nallow-loopback-pinentry\n").unwrap();
        for name in names {
            let passphrase = if *name == "locked" { PASSPHRASE } else { "" };
            let kind = if *name == "notary" { ["ed25519", "sign"] } else { ["future-default", "default"] };
            gpg.run(&["--passphrase", passphrase, "--quick-gen-key", &user(name), kind[0], kind[1], "never"], b"");
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

fn holds(path: &std::path::Path, text: &[u8]) -> bool {
    memchr::memmem::find(&std::fs::read(path).unwrap(), text).is_some()
}

/// Whole circle, by GnuPG on the other side: nothing of the file lies anywhere in plain text.
#[test]
fn a_report_goes_back_encrypted_and_comes_back_corrected_and_encrypted() {
    let gpg = Gpg::with(&["us", "sender", "second"]);
    let more = format!("{}, encrypt_to = {:?}, sign_with = \"new\"", gpg.signed_by("sender"), [gpg.public("sender"), gpg.public("second")]);
    let send = |text: &[u8]| gpg.encrypt(&["-r", "us@example.org", "-u", "sender@example.org", "--sign"], text);
    let harbour = gpg.plan("us", &more).start();
    let secret = TEXT.replace("silver", "Wachtwoord");
    harbour.deliver("points.csv.gpg", send(secret.as_bytes()));
    harbour.once().exits(1);
    assert_eq!(harbour.points("C-1"), 10.0);
    let reports: Vec<String> = harbour.tree().into_iter().filter_map(|path| Some(path.strip_prefix("reports/")?.to_owned())).collect();
    assert_eq!(reports, ["points.errors.csv.pgp", "points.problems.csv.pgp", "points.report.html.pgp", "points.report.json"]);
    let report = harbour.report("points");
    let files: Vec<&str> = report["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(files, ["points.errors.csv.pgp", "points.problems.csv.pgp", "points.report.html.pgp"]);
    assert!(report["files"].as_array().unwrap().iter().all(|file| file["encrypted_for"].as_array().unwrap().len() == 2), "{report:#}");
    assert_eq!(report["moves"]["samples"], serde_json::json!([]), "what fields hold is in none of the plain files");
    assert!(report["next"][0].as_str().unwrap().contains("decrypt and correct the cells in points.errors.csv.pgp"), "{report:#}");
    for path in harbour.files() {
        assert!(!holds(&path, b"Wachtwoord"), "plain text in {}", path.display());
    }
    for entry in std::fs::read_dir(harbour.state().join("spool")).unwrap() {
        let path = entry.unwrap().path();
        assert!(!holds(&path, b"_outcome"), "the plain report in {}", path.display());
    }
    // GnuPG says whose signature it is, and fails on a bad one.
    let shown = gpg.home.path().join("errors.csv");
    std::fs::write(&shown, harbour.read("reports/points.errors.csv.pgp")).unwrap();
    let status = gpg.run(&["--status-fd", "1", "--output", "/dev/null", "--decrypt", shown.to_str().unwrap()], b"");
    let status = String::from_utf8(status).unwrap();
    assert!(status.contains("VALIDSIG") && status.contains("DECRYPTION_OKAY"), "{status}");
    let errors = gpg.run(&["--decrypt"], &harbour.read("reports/points.errors.csv.pgp"));
    let errors = String::from_utf8(errors).unwrap();
    assert!(errors.contains("C-2,x,Wachtwoord,"), "{errors}");
    // Untouched, whether encrypted or not, it is no correction.
    harbour.deliver("points.errors.csv.pgp", harbour.read("reports/points.errors.csv.pgp"));
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 1);
    let fixed = errors.replace(",x,", ",11,");
    harbour.deliver("points-fixed.errors.csv", &fixed);
    harbour.once().exits(65);
    assert_eq!(harbour.report("points-fixed")["fault"]["code"], "signature-error");
    harbour.deliver("points-fixed2.errors.csv.gpg", send(fixed.as_bytes()));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-2"), 11.0);
    let shown = harbour.told(&["show", "points.csv.gpg", "--json"]);
    assert_eq!(shown["files"], report["files"], "{shown:#}");
    check_promises(&harbour);
}

/// Encrypted again, a report would be other bytes, and the half published one would look like somebody else's.
#[test]
fn a_stop_in_the_middle_of_publishing_leaves_one_encrypted_report() {
    let gpg = Gpg::with(&["us", "sender"]);
    let harbour = gpg.plan("us", &format!(", encrypt_to = [{:?}]", gpg.public("sender"))).start();
    harbour.deliver("points.csv", TEXT);
    let crashed = crash(&harbour, &["once"], &Moment::first(Mode::After, "rename*points.errors.csv.pgp"));
    assert!(crashed.reached, "{:?}", crashed.calls);
    let published = harbour.read("reports/points.errors.csv.pgp");
    harbour.once().exits(1);
    assert_eq!(harbour.read("reports/points.errors.csv.pgp"), published);
    assert_eq!(harbour.tree().iter().filter(|path| path.starts_with("reports/")).count(), 4, "{:?}", harbour.tree());
    check_promises(&harbour);
}

/// Nothing is written in plain text instead.
#[test]
fn a_key_that_nothing_can_be_encrypted_for_is_told_and_the_run_waits() {
    let gpg = Gpg::with(&["us", "sender", "notary"]);
    let public = gpg.public("sender");
    let harbour = gpg.plan("us", &format!(", encrypt_to = [{public:?}]")).start();
    harbour.deliver("points.csv", TEXT);
    let crashed = crash(&harbour, &["once"], &Moment::first(Mode::Before, "*points.errors.csv.pgp"));
    assert!(crashed.reached, "{:?}", crashed.calls);
    let key = std::fs::read(&public).unwrap();
    std::fs::copy(gpg.public("notary"), &public).unwrap();
    let told = harbour.once().exits(78);
    assert!(told.err.contains("nothing can be encrypted for: it has expired, was revoked, or is for signing alone"), "{}", told.err);
    std::fs::write(&public, key).unwrap();
    harbour.once().exits(1);
    assert_eq!(harbour.tree().iter().filter(|path| path.ends_with(".csv.pgp")).count(), 2, "{:?}", harbour.tree());
    check_promises(&harbour);
}

/// Two feeds share an inbox, and the first asks for no signature: it is no way around that of the second.
#[test]
fn a_correction_needs_the_signature_that_its_own_feed_requires() {
    let gpg = Gpg::with(&["us", "sender"]);
    let signed = format!("{{ keys.new = {{ key = {{ file = {:?} }} }}{} }}", gpg.secret("us"), gpg.signed_by("sender"));
    let harbour = plan().feed("pattern", "\"open*\"").start();
    harbour.change_config(|config| {
        let feed = &config[config.find("[feed.points]").unwrap()..];
        let second = feed.replace("feed.points", "feed.signed").replace("\"open*\"", "\"points*\"");
        let second = second.replacen("[feed.signed]", &format!("[feed.signed]\npgp = {signed}"), 1);
        format!("{config}\n{second}")
    });
    harbour.run(&["check"]).exits(0);
    let sign = |text: &[u8]| gpg.run(&["-u", "sender@example.org", "--sign"], text);
    harbour.deliver("points.csv", sign(TEXT.as_bytes()));
    harbour.once().exits(1);
    let fixed = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap().replace(",x,", ",11,");
    harbour.deliver("fixed.errors.csv", &fixed);
    harbour.once().exits(65);
    assert_eq!(harbour.report("fixed")["fault"]["code"], "signature-error");
    assert_eq!(harbour.points("C-2"), 0.0);
    harbour.deliver("fixed2.errors.csv.gpg", sign(fixed.as_bytes()));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-2"), 11.0);
    check_promises(&harbour);
}
