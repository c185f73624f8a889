//! The promises of the design, asserted from outside at the end of every test: files at the server, passes at the platform, reports,
//! ledger and log must tell one story.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use passferry::cli::Exit;
use passferry::ledger::{KeyState, Ledger, Run, RunKind, State};
use passferry::outcome::Outcome;
use passferry::pipeline::correction::{RESERVED, is_reserved, unprotect};
use passferry::row::AddKind;
use sha2::{Digest, Sha256};

use super::harbour::{Harbour, KEY, SECRET};

type Cells = BTreeMap<String, String>;

/// Asserts section 4 of the design for everything that happened in this harbour. The program must not be running.
#[track_caller]
pub fn check_promises(harbour: &Harbour) {
    inputs_are_in_one_place_unchanged(harbour);
    no_leftovers(harbour);
    let ledger = harbour.ledger();
    let runs = harbour.runs();
    let (mut model, mut perhaps) = (HashMap::new(), HashMap::new());
    for run in &runs {
        let input = input_of(harbour, run);
        records_are_the_sum_of_outcomes(&*ledger, run, input.as_deref());
        reports_are_whole(harbour, run);
        let left_out = rows_for_a_person_are_in_one_line(harbour, &*ledger, run, input.as_deref());
        if let Some(records) = input
            && matches!(run.state, State::Done | State::DoneInDoubt)
            && run.detail.fault.is_none()
            && !run.detail.nothing_new
        {
            for (index, cells) in records.into_iter().enumerate() {
                if !left_out.contains_key(&(index as u64 + 1)) {
                    take(&mut model, &mut perhaps, cells);
                }
            }
        } else if run.state == State::Stopped && run.detail.cause.as_ref().is_some_and(|cause| cause.contains("stopped unexpectedly")) {
            // Of the requests that a killed start had under way nobody knows.
            for cells in input_of(harbour, run).into_iter().flatten() {
                perhaps.entry(cells.get("id").cloned().unwrap_or_default()).or_insert_with(Vec::new).push(cells);
            }
        }
    }
    assert_eq!(ledger.check().unwrap(), Vec::<String>::new(), "the ledger contradicts itself");
    verify_finds_nothing(harbour, &*ledger);
    adds_have_one_effect(harbour, &*ledger, &runs);
    nobody_is_told_twice(harbour);
    drop(ledger);
    if harbour.modelled {
        passes_hold_what_the_last_file_says(harbour, &model, &perhaps);
    }
    if harbour.quiet_after.get() {
        another_sweep_changes_nothing(harbour);
    }
    nothing_private_is_told(harbour);
}

/// What `verify` looks at on this machine.
fn verify_finds_nothing(harbour: &Harbour, ledger: &dyn Ledger) {
    if let Ok(config) = passferry::config::load(&harbour.home.path().join("passferry.toml")) {
        let (_, findings) = passferry::keeping::verify::here(&config, ledger, &|| false).unwrap();
        assert_eq!(findings, vec![], "{}", harbour.said());
    }
}

/// Exit codes that are documented.
pub fn is_documented(exit: i32) -> bool {
    Exit::ALL.iter().any(|(known, _)| *known as i32 == exit)
}

/// Promise 4.
fn inputs_are_in_one_place_unchanged(harbour: &Harbour) {
    let mut there: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for path in harbour.files() {
        if !path.components().any(|part| part.as_os_str() == "reports") {
            there.entry(hash(&fs::read(&path).unwrap())).or_default().push(path.display().to_string());
        }
    }
    let mut expected: HashMap<Vec<u8>, usize> = HashMap::new();
    for delivered in harbour.delivered.borrow().iter() {
        *expected.entry(hash(&delivered.content)).or_default() += 1;
    }
    for delivered in harbour.delivered.borrow().iter() {
        let key = hash(&delivered.content);
        let places = there.get(&key).cloned().unwrap_or_default();
        let name = String::from_utf8_lossy(&delivered.name);
        assert_eq!(places.len(), expected[&key], "{name} must be in exactly one place, and is in {places:?}\n{}", harbour.said());
    }
}

/// Promise 5.
fn no_leftovers(harbour: &Harbour) {
    for path in harbour.files() {
        let name = path.file_name().unwrap().as_bytes();
        let in_reports = path.parent().is_some_and(|folder| folder.ends_with("reports"));
        assert!(!(in_reports && name.ends_with(b".part")), "left over: {}\n{}", path.display(), harbour.said());
    }
    for entry in fs::read_dir(harbour.state().join("spool")).into_iter().flatten().flatten() {
        assert!(entry.path().extension().is_none_or(|ending| ending != "part"), "left over in the spool: {}", entry.path().display());
    }
}

/// The records of a run's file as another CSV reader sees them, from where the file is now. None when it cannot be read as a table.
fn input_of(harbour: &Harbour, run: &Run) -> Option<Vec<Cells>> {
    let wanted = run.sha256.clone()?;
    if !run.parts().is_empty() {
        return input_of_set(harbour, run);
    }
    let content = harbour.delivered.borrow().iter().find(|file| hex(&hash(&file.content)) == wanted)?.content.clone();
    if run.detail.fault.is_some() || run.kind == RunKind::Retry || !is_plain(run) {
        return None;
    }
    Some(records(&content))
}

/// The records of all parts of a set.
fn input_of_set(harbour: &Harbour, run: &Run) -> Option<Vec<Cells>> {
    let delivered = harbour.delivered.borrow();
    let mut all = Vec::new();
    for part in run.parts() {
        let wanted = part.sha256.as_ref()?;
        let file = delivered.iter().find(|file| hex(&hash(&file.content)) == *wanted)?;
        if !file.content.is_empty() {
            all.extend(records(&file.content));
        }
    }
    (run.detail.fault.is_none() && run.kind != RunKind::Retry).then_some(all)
}

/// Is the run's file one that another CSV reader reads alike? What others hold, their own tests say.
fn is_plain(run: &Run) -> bool {
    let dialect = run.detail.dialect.clone().unwrap_or_default();
    let usual = passferry::ledger::run::DialectFacts {
        delimiter: dialect.delimiter.clone(),
        header: true,
        pinned: dialect.pinned,
        evidence: dialect.evidence.clone(),
        encoding_evidence: dialect.encoding_evidence.clone(),
        containers: dialect.containers.iter().filter(|container| *container == "gzip").cloned().collect(),
        ..Default::default()
    };
    let bare = run.detail.facts.as_ref().is_some_and(|facts| facts.passed_over > 0 || facts.footer);
    (run.detail.dialect.is_none() || dialect == usual) && !bare
}

/// Reads a table: header names to cells, protection against formulas taken off where the file is a report of ours.
pub fn records(content: &[u8]) -> Vec<Cells> {
    let mut plain = Vec::new();
    let content = if content.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(content).read_to_end(&mut plain).unwrap();
        &plain
    } else {
        content
    };
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let body = without_section(content);
    let content = body.as_deref().unwrap_or(content);
    let first = content.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t', b'|'].into_iter().max_by_key(|delimiter| memchr::memchr_iter(*delimiter, first).count()).unwrap();
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(content);
    let header = reader.byte_headers().unwrap().clone();
    let ours = header.iter().any(|label| label == RESERVED[0].as_bytes());
    let text = |cell: &[u8]| {
        let cell = String::from_utf8_lossy(cell).into_owned();
        if ours { unprotect(&cell).map_or(cell.clone(), str::to_owned) } else { cell }
    };
    let header: Vec<String> = header.iter().map(text).collect();
    let cells = |record: csv::ByteRecord| header.iter().cloned().zip(record.iter().map(text)).collect();
    // The header once more, where exports were joined, is no record.
    let is_header = |cells: &Cells| cells.iter().all(|(label, cell)| cell.strip_prefix('\u{feff}').unwrap_or(cell) == label);
    reader.byte_records().map(|record| cells(record.unwrap())).filter(|cells| !is_header(cells)).collect()
}

/// The body of a `.wallet_update` file under a header of its own; none where there is no header section.
fn without_section(content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    let begins = ["Fields: ", "Delimiter: ", "Campaign-Token: "].iter().any(|name| text.starts_with(name));
    let (section, body) = text.split_once("\n\n").filter(|_| begins)?;
    let Some(fields) = section.lines().find_map(|line| line.strip_prefix("Fields: ")) else { return Some(body.into()) };
    let delimiter = section.lines().find_map(|line| line.strip_prefix("Delimiter: ")).unwrap_or(",");
    Some(format!("{}\n{body}", fields.replace(',', delimiter)).into_bytes())
}

/// Promise 1.
fn records_are_the_sum_of_outcomes(ledger: &dyn Ledger, run: &Run, input: Option<&[Cells]>) {
    if !run.state.is_over() || run.detail.fault.is_some() || run.state == State::Superseded {
        return;
    }
    let mut tally = run.detail.counted.clone();
    tally.merge(&ledger.tally(&run.id).unwrap());
    assert_eq!(tally, run.detail.tally, "the rows of {} and its tally differ", run.shown_name());
    if let Some(records) = input {
        assert_eq!(tally.total(), records.len() as u64, "{}: records and outcomes {tally:?}", run.shown_name());
    }
    assert_eq!(ledger.count_pending(&run.id).unwrap(), 0, "{} is over and has rows to do", run.shown_name());
}

fn report_folder(harbour: &Harbour, run: &Run) -> std::path::PathBuf {
    harbour.root.join(std::ffi::OsStr::from_bytes(&run.folder)).join("reports")
}

/// A report for programs is what its schema says.
#[cfg(feature = "json-schema")]
fn is_as_described(told: &serde_json::Value) {
    static SCHEMA: std::sync::LazyLock<jsonschema::Validator> = std::sync::LazyLock::new(|| {
        jsonschema::validator_for(&serde_json::from_str(include_str!("../../../schemas/report.json")).unwrap()).unwrap()
    });
    let errors: Vec<String> = SCHEMA.iter_errors(told).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{told:#}");
}

/// Promise 5: what stands under a final name is what the ledger says it is.
fn reports_are_whole(harbour: &Harbour, run: &Run) {
    if !run.state.is_over() || run.sha256.is_none() {
        return;
    }
    assert!(!run.detail.reports.is_empty(), "{} has no report\n{}", run.shown_name(), harbour.said());
    for report in &run.detail.reports {
        let Some(content) = find_report(&report_folder(harbour, run), &report.name) else {
            panic!("no report {:?}; there is {:?}\n{}", report.name, harbour.tree(), harbour.said());
        };
        assert_eq!((content.len() as u64, hex(&hash(&content))), (report.bytes, report.sha256.clone()), "{}", report.name);
        if Path::new(&report.name).extension().is_some_and(|ending| ending == "json") {
            let told: serde_json::Value = serde_json::from_slice(&content).unwrap();
            #[cfg(feature = "json-schema")]
            is_as_described(&told);
            assert_eq!(told["state"], run.state.as_str(), "{}", report.name);
            assert_eq!(told["run"], run.id);
            let rows: u64 = told["rows"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
            if let Some(page) = find_report(&report_folder(harbour, run), &report.name.replace(".report.json", ".report.html")) {
                super::page::check_report(&page, &told);
            }
            if run.detail.fault.is_none() {
                assert_eq!(told["records"], rows, "{}: records and rows {}", report.name, told["rows"]);
                assert_eq!(rows, run.detail.tally.total());
            }
        }
    }
}

/// Names in reports are shown escaped; compare by what is shown.
fn find_report(folder: &Path, shown: &str) -> Option<Vec<u8>> {
    let entry = fs::read_dir(folder).ok()?.flatten().find(|entry| {
        let name = bstr::BString::from(entry.file_name().as_bytes());
        passferry::ledger::run::show_name(&name) == shown
    })?;
    fs::read(entry.path()).ok()
}

/// Promise 3. Answers the records that are not applied, with their outcome.
fn rows_for_a_person_are_in_one_line(harbour: &Harbour, ledger: &dyn Ledger, run: &Run, input: Option<&[Cells]>) -> BTreeMap<u64, Outcome> {
    let mut left_out = BTreeMap::new();
    let mut needing = Vec::new();
    let unsaid = [Outcome::Stale, Outcome::NotAttempted, Outcome::Rejected, Outcome::Unresolved, Outcome::Refused, Outcome::InDoubt];
    ledger
        .rows(&run.id, &unsaid, &mut |row| {
            let outcome = row.outcome.unwrap();
            left_out.insert(row.record, outcome);
            // Somebody decided to discard these: they ask for nobody any more.
            let decided = row.detail.codes().iter().any(|code| passferry::pipeline::report::json::KEPT_BACK.contains(code));
            if outcome.needs_person() && !decided {
                needing.push(row.record);
            }
            Ok(())
        })
        .unwrap();
    let report = run.detail.reports.iter().find(|report| report.name.ends_with(".errors.csv"));
    let (Some(report), Some(input), true) = (report, input, run.state.is_over()) else { return left_out };
    let content = find_report(&report_folder(harbour, run), &report.name).unwrap();
    let lines = records(&content);
    let mut told: Vec<u64> = lines.iter().map(|line| line["_record"].parse().unwrap()).collect();
    told.sort_unstable();
    needing.sort_unstable();
    assert_eq!(told, needing, "{}: rows that need a person and lines of the report", run.shown_name());
    for line in &lines {
        let record: usize = line["_record"].parse().unwrap();
        assert_eq!(line["_run"], run.id);
        if line["_codes"].contains("stray-quote") {
            // Another reader reads such a cell in its own way.
            continue;
        }
        for (label, cell) in &input[record - 1] {
            if !is_reserved(label) {
                assert_eq!(line.get(label), Some(cell), "{} record {record}: the original cell of {label}", run.shown_name());
            }
        }
    }
    left_out
}

fn take(model: &mut HashMap<String, Cells>, perhaps: &mut HashMap<String, Vec<Cells>>, cells: Cells) {
    let Some(id) = cells.get("id").filter(|id| !id.is_empty()).cloned() else { return };
    perhaps.remove(&id);
    let pass = model.entry(id).or_default();
    for (label, cell) in cells {
        if !cell.is_empty() && !label.starts_with('_') {
            pass.insert(label, cell);
        }
    }
}

/// Promise 2, for set fields. Files are taken in the order of their runs.
fn passes_hold_what_the_last_file_says(harbour: &Harbour, model: &HashMap<String, Cells>, perhaps: &HashMap<String, Vec<Cells>>) {
    let config = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    for (id, cells) in model {
        let member = harbour.sandbox.member(id).unwrap_or_else(|| panic!("{id} was applied and is not there\n{}", harbour.said()));
        for (label, cell) in cells {
            let (mapped, held) = match label.as_str() {
                "points" => ("fields.points", member["points"].as_f64().unwrap().to_string()),
                "tier" => ("metaData.tier", member["metaData"]["tier"].as_str().unwrap_or_default().to_owned()),
                "email" => ("person.emailAddress", member["person"]["emailAddress"].as_str().unwrap_or_default().to_owned()),
                _ => continue,
            };
            if config.contains(mapped) {
                let plain = |cell: &String| {
                    if label == "points" { cell.parse::<f64>().map_or_else(|_| cell.clone(), |n| n.to_string()) } else { cell.clone() }
                };
                let may_hold = perhaps.get(id).into_iter().flatten().filter_map(|cells| cells.get(label)).any(|cell| plain(cell) == held);
                assert!(may_hold || held == plain(cell), "{label} of {id} is {held}, not {cell}\n{}", harbour.said());
            }
        }
    }
}

/// The calls that issue a pass. No key of the ledger stands for one; twice is one pass too many all the same.
const CREATES: [&str; 2] = ["POST /api/{tenantId}/passes", "POST /passes"];

/// Promise 2, for adds: what the ledger says of each key is what the platform has.
fn adds_have_one_effect(harbour: &Harbour, ledger: &dyn Ledger, runs: &[Run]) {
    let effects: Vec<_> = harbour.sandbox.effects().into_iter().filter(passferry::sandbox::Effect::is_add).collect();
    let mut known = std::collections::HashSet::new();
    for run in runs {
        for state in KeyState::ALL {
            for note in ledger.keys_of(&run.id, state).unwrap() {
                let key = note.key.to_string();
                known.insert(key.clone());
                if note.key.kind == AddKind::Notify {
                    continue;
                }
                let here: u64 = effects.iter().filter(|effect| effect.event == key).map(|effect| effect.times).sum();
                let times =
                    here + harbour.elsewhere.borrow().iter().filter(|(other, _)| *other == key).map(|(_, times)| times).sum::<u64>();
                let fits = match (state, &note.settled) {
                    // What a person decided is theirs; twice is wrong whatever they decided.
                    (_, Some(_)) | (KeyState::InDoubt, None) => times <= 1,
                    // A run that is over has decided about each.
                    (KeyState::Intended, None) => times <= 1 && !run.state.is_over(),
                    (KeyState::Applied, None) => times == 1,
                    (KeyState::NotApplied, None) => times == 0,
                };
                assert!(fits, "line {} of {} is {state:?} and was applied {times} times\n{}", note.line, run.shown_name(), harbour.said());
            }
        }
    }
    for (key, times) in harbour.elsewhere.borrow().iter() {
        assert!(known.contains(key), "an add that the ledger does not know: {key}, {times} times\n{}", harbour.said());
    }
    for effect in effects {
        if CREATES.contains(&effect.route) {
            assert_eq!(effect.times, 1, "a pass was issued more than once: {effect:?}\n{}", harbour.said());
            continue;
        }
        assert!(known.contains(&effect.event), "an add that the ledger does not know: {effect:?}\n{}", harbour.said());
    }
}

/// Promise 2, for notifications: holders were shown each text once at most. No test delivers a text to a pass twice on purpose.
fn nobody_is_told_twice(harbour: &Harbour) {
    let config = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap_or_default();
    let told = config.lines().filter(|line| line.trim_start().starts_with("notify.field") || line.contains("field = \"metaData."));
    let keys: BTreeSet<&str> = told.filter_map(|line| line.split("metaData.").nth(1)?.split('"').next()).collect();
    let delivered = harbour.delivered.borrow();
    let cells =
        delivered.iter().filter(|file| !keys.is_empty() && file.content.starts_with(b"txn")).flat_map(|file| records(&file.content));
    let passes: BTreeSet<String> = cells.filter_map(|cells| cells.get("id").cloned()).collect();
    for (pass, key) in passes.iter().flat_map(|pass| keys.iter().map(move |key| (pass, key))) {
        let alerts = harbour.sandbox.alerts(pass, key);
        let texts: BTreeSet<&String> = alerts.iter().collect();
        assert_eq!(alerts.len(), texts.len(), "{pass} was told twice: {alerts:?}\n{}", harbour.said());
    }
}

/// Promise 6.
fn another_sweep_changes_nothing(harbour: &Harbour) {
    let writes = harbour.writes().len();
    let files = harbour.files();
    let states = |harbour: &Harbour| harbour.runs().iter().map(|run| (run.id.clone(), run.state)).collect::<Vec<_>>();
    let before = states(harbour);
    let ran = harbour.once();
    assert!(is_documented(ran.exit), "exit {}", ran.exit);
    let held = harbour.runs().iter().any(|run| run.state == State::Held);
    assert_eq!(ran.exit, i32::from(held), "a sweep with nothing new\n{}", ran.err);
    assert_eq!(harbour.writes().len(), writes, "a sweep with nothing new wrote\n{}", ran.err);
    assert_eq!(states(harbour), before);
    assert_eq!(harbour.files(), files);
}

/// Promise 7.
fn nothing_private_is_told(harbour: &Harbour) {
    let log = harbour.said();
    for secret in [KEY, SECRET] {
        assert!(!log.contains(secret), "a secret is in the log:\n{log}");
    }
    for delivered in harbour.delivered.borrow().iter() {
        let text = String::from_utf8_lossy(&delivered.content);
        for cell in text.split(|c: char| !(c.is_alphanumeric() || "@._-+".contains(c))).filter(|cell| cell.contains('@')).take(1000) {
            assert!(!log.contains(cell), "{cell:?} is in the log:\n{log}");
        }
    }
    let raw = harbour.log.lock().unwrap();
    let control = raw.iter().find(|&&byte| (byte < 0x20 && byte != b'\n') || byte == 0x7f);
    assert_eq!(control, None, "a raw control character is in the log: {log:?}");
}

fn hash(content: &[u8]) -> Vec<u8> {
    Sha256::digest(content).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
