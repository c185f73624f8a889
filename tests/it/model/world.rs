//! Carries out operations on a real harbour, and tells the model what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use passferry::ledger::{KeyState, Run, RunKind, State};
use passferry::outcome::Outcome;
use passferry::sandbox::{BURN, Faults, Issue, Latency, Outage, Rule, Throttle, Trouble};

use super::judge::{self, Cells, Content, Ended, Told, Truth};
use super::ops::{BEGIN, Change, Death, Fault, Feed, Mend, Op, TOO_MANY, movement_pass};
use crate::rig::harbour::{Harbour, Process, harbour};
use crate::rig::promises::{check_promises, is_documented, records};

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "txn", "type": "string" },
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "move", "type": "string", "constraints": { "enum": ["earn", "burn"] } },
    { "name": "points", "type": "integer", "constraints": { "minimum": 0, "maximum": 16777216 } },
    { "name": "store", "type": "string" },
    { "name": "till", "type": "string" }
  ]
}
"#;

/// Sweeps after which nothing may be left to do.
const SWEEPS: u32 = 12;

/// What was done, for the closing figures.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub operations: u64,
    pub deaths: u64,
    pub files: u64,
    pub rows: u64,
    pub adds: u64,
    pub adds_under_faults: u64,
    pub double: u64,
    pub doubtful_helping: u64,
    pub doubtful_unhelpful: u64,
    pub settled: u64,
    pub checks: u64,
}

impl Figures {
    pub fn add(&mut self, more: &Figures) {
        self.operations += more.operations;
        self.deaths += more.deaths;
        self.files += more.files;
        self.rows += more.rows;
        self.adds += more.adds;
        self.adds_under_faults += more.adds_under_faults;
        self.double += more.double;
        self.doubtful_helping += more.doubtful_helping;
        self.doubtful_unhelpful += more.doubtful_unhelpful;
        self.settled += more.settled;
        self.checks += more.checks;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} operations, {} deaths, {} looks at everything; {} files, {} rows; {} adds, {} of them under faults, {} double; \
             in doubt at the end with a platform that helps {}, with one that does not {}, settled {}",
            self.operations,
            self.deaths,
            self.checks,
            self.files,
            self.rows,
            self.adds,
            self.adds_under_faults,
            self.double,
            self.doubtful_helping,
            self.doubtful_unhelpful,
            self.settled
        )
    }
}

struct Sent {
    feed: Feed,
    name: String,
    content: Vec<u8>,
    /// A correction of ours; it names the run it belongs to.
    correction: bool,
}

pub struct World {
    harbour: Harbour,
    helps: bool,
    /// Something may go wrong since the last look.
    troubled: bool,
    /// Runs that ended while something could go wrong.
    troubled_runs: BTreeSet<String>,
    calm_runs: BTreeSet<String>,
    sent: Vec<Sent>,
    figures: Figures,
}

fn movements(feed: Feed, more: &str) -> String {
    format!(
        "[feed.{}]\nsource = \"port\"\ninbox = \"{}\"\npattern = \"*.csv\"\ncontent = \"delta\"\nschema = \"schema.json\"\n\
         platform = \"cards\"\nenvironment = \"test\"\npass = {{ external_id = \"id\" }}\noperation = {{ column = \"move\" }}\n\
         add = {{ transaction_id = \"txn\", scope = \"ours\" }}\nquiet = \"20ms\"\ntimezone = \"UTC\"\n{more}\n\n",
        feed.name(),
        feed.folder()
    )
}

impl World {
    pub fn new(seed: u64) -> World {
        let helps = seed % 3 != 2;
        let plan = harbour()
            .members(5)
            .schema(SCHEMA)
            .feed("fields.\"metaData.tier\"", "")
            .feed("fields.\"person.emailAddress\"", "")
            .feed("fields.\"metaData.store\"", "\"store\"")
            .feed("quiet", "\"20ms\"")
            .feed("guard.unresolved", "false")
            .platform("settling", "\"300ms\"")
            .platform("timeout", "\"1s\"")
            .platform("read_back", if helps { "\"events\"" } else { "\"nothing\"" })
            .more(&movements(
                Feed::Tills,
                "guard = { first_file = false, rejects = false, ragged = false, unresolved = false }\n\
                 fields = { points = \"points\", \"metaData.till\" = \"till\" }",
            ))
            .more(&movements(
                Feed::Web,
                "guard = { first_file = true, rejects = false, ragged = false, unresolved = false }\nfields = { points = \"points\" }",
            ));
        let plan = if seed % 5 == 4 { plan } else { plan.folder() };
        let harbour = plan.start();
        for feed in Feed::ALL {
            fs::create_dir_all(harbour.root.join(feed.folder())).unwrap();
        }
        let movers = (1..=4).map(|n| Issue { external_id: format!("M-{n}"), points: BEGIN as f32, ..Issue::default() });
        harbour.sandbox.issue(movers).unwrap();
        let world = World {
            harbour,
            helps,
            troubled: false,
            troubled_runs: BTreeSet::new(),
            calm_runs: BTreeSet::new(),
            sent: Vec::new(),
            figures: Figures::default(),
        };
        world.harbour.sandbox.faults().set(world.usual());
        world
    }

    /// The platform without faults.
    fn usual(&self) -> Faults {
        let unhelpful = !self.helps;
        Faults { latency: Latency::Fixed { ms: 4 }, no_events: unhelpful, event_lists: unhelpful.then_some(501), ..Faults::default() }
    }

    pub fn figures(mut self) -> Figures {
        self.figures.files = self.sent.len() as u64;
        let effects = self.harbour.sandbox.effects();
        self.figures.adds = effects.iter().filter(|effect| effect.is_add()).map(|effect| effect.times).sum();
        self.figures.double = self.harbour.sandbox.double_effects().len() as u64;
        let runs = self.harbour.runs();
        self.figures.rows = runs.iter().map(|run| run.detail.tally.total()).sum();
        let ledger = self.harbour.ledger();
        let keys = |run: &Run, state| ledger.keys_of(&run.id, state).unwrap().len() as u64;
        let troubled = runs.iter().filter(|run| self.troubled_runs.contains(&run.id));
        self.figures.adds_under_faults = troubled.flat_map(|run| KeyState::ALL.map(|state| keys(run, state))).sum();
        let doubtful: u64 = runs.iter().map(|run| keys(run, KeyState::InDoubt)).sum();
        *(if self.helps { &mut self.figures.doubtful_helping } else { &mut self.figures.doubtful_unhelpful }) += doubtful;
        self.figures.clone()
    }

    pub fn carry_out(&mut self, op: &Op) {
        self.figures.operations += 1;
        match op {
            Op::Deliver { feed, text } => self.deliver(*feed, "csv", text.as_bytes().to_vec(), false),
            Op::Again { which, elsewhere } => self.again(*which, *elsewhere),
            Op::Correct { which, mend } => self.correct(*which, *mend),
            Op::Fault(fault) => self.fault(*fault),
            Op::Clear => self.harbour.sandbox.faults().set(self.usual()),
            Op::Once { patience_ms } => {
                let ran = self.harbour.run(&["once", "--patience", &format!("{patience_ms}ms")]);
                assert!(matches!(ran.exit, 0 | 1 | 65 | 75), "once ends with {}\n{}", ran.exit, ran.err);
            }
            Op::Run { ms, death } => self.die(&["run"], *ms, *death),
            Op::OnceKilled { ms } => self.die(&["once", "--patience", "500ms"], *ms, Death::Kill),
            Op::Settle { which, resend } => self.settle(*which, *resend),
            Op::Pause(feed) => drop(self.harbour.run(&["pause", feed.name()])),
            Op::Resume(feed) => drop(self.harbour.run(&["resume", feed.name()])),
            Op::Approve => self.decide("approve"),
            Op::Discard => self.decide("discard"),
            Op::Retry { which } => {
                let runs = self.harbour.runs();
                if let Some(run) = pick(&runs, *which) {
                    self.harbour.run(&["retry", &run.id]);
                }
            }
            Op::Change(change) => self.change(*change),
            Op::Check { leave_held } => self.check(*leave_held),
        }
    }

    fn deliver(&mut self, feed: Feed, ending: &str, content: Vec<u8>, correction: bool) {
        let name = format!("{:05}.{ending}", self.sent.len());
        self.harbour.deliver_to(feed.folder(), &name, &content);
        self.sent.push(Sent { feed, name, content, correction });
    }

    fn again(&mut self, which: usize, elsewhere: bool) {
        let Some(sent) = pick(&self.sent, which) else { return };
        let feed = match sent.feed {
            Feed::Tills if elsewhere && !sent.correction => Feed::Web,
            Feed::Web if elsewhere && !sent.correction => Feed::Tills,
            feed => feed,
        };
        let (content, correction) = (sent.content.clone(), sent.correction);
        self.deliver(feed, if correction { "errors.csv" } else { "csv" }, content, correction);
    }

    fn correct(&mut self, which: usize, mend: Mend) {
        let reports: Vec<(Feed, std::path::PathBuf)> = self
            .harbour
            .runs()
            .iter()
            .filter(|run| run.state.is_over())
            .filter_map(|run| {
                let report = run.detail.reports.iter().find(|report| report.name.ends_with(".errors.csv"))?;
                let feed = feed_of(run);
                Some((feed, self.harbour.root.join(feed.folder()).join("reports").join(&report.name)))
            })
            .collect();
        let Some((feed, path)) = pick(&reports, which) else { return };
        let report = fs::read(path).unwrap();
        let mended = mended(&report, mend);
        if mended != report {
            self.deliver(*feed, "errors.csv", mended, true);
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.troubled = true;
        let share = |trouble, share: f64| vec![Rule::new(trouble).path("/members/member").share(share)];
        let status = |code| Trouble::Status { code, message: None };
        let rules = match fault {
            Fault::DropBefore => share(Trouble::DropBefore, 0.3),
            Fault::DropAfter => share(Trouble::DropAfter, 0.3),
            Fault::ApplyLater => vec![Rule::new(Trouble::ApplyLater { ms: 120 }).path("/points/").share(0.3)],
            Fault::ServerError => share(status(500), 0.3),
            Fault::TooMany => share(Trouble::TooMany { retry_after: None }, 0.3),
            Fault::Unavailable => share(Trouble::Unavailable, 0.3),
            Fault::Html => share(Trouble::HtmlOk, 0.1),
            Fault::HtmlAfter => share(Trouble::HtmlAfter, 0.1),
            Fault::OtherId => share(Trouble::OtherId, 0.1),
            Fault::WrongJson => share(Trouble::WrongJson, 0.1),
            Fault::EventsCut => vec![
                Rule::new(Trouble::ListCut { rows: 1 }).path("/list/events/").share(0.4),
                Rule::new(Trouble::DropAfter).path("/points/").share(0.3),
            ],
            _ => Vec::new(),
        };
        self.harbour.sandbox.faults().change(|faults| {
            faults.rules.extend(rules);
            match fault {
                Fault::Throttle => faults.throttle = Some(Throttle { per_second: 60.0, burst: 5.0, ..Throttle::default() }),
                Fault::Slow => faults.latency = Latency::Fixed { ms: 40 },
                Fault::OutageClose => faults.outage = Some(Outage::Close),
                Fault::OutageUnavailable => faults.outage = Some(Outage::Unavailable),
                _ => {}
            }
        });
    }

    /// Starts the program and ends it after a while.
    fn die(&mut self, args: &[&str], ms: u32, death: Death) {
        self.troubled = true;
        self.figures.deaths += 1;
        let mut process: Process = self.harbour.start(args);
        thread::sleep(Duration::from_millis(u64::from(ms)));
        if !process.is_running() {
            let exit = process.wait();
            assert!(is_documented(exit), "exit {exit}\n{}", self.harbour.said());
            return;
        }
        match death {
            Death::Kill => process.kill(),
            Death::Term => {
                let exit = process.terminate();
                // A signal before the program heeds signals ends it as signals do.
                assert!(is_documented(exit) || exit == -15, "exit {exit}\n{}", self.harbour.said());
            }
        }
    }

    /// Decides about a row in doubt as somebody would who looks at the platform.
    fn settle(&mut self, which: usize, resend: bool) {
        let runs = self.harbour.runs();
        if runs.is_empty() {
            return;
        }
        let ledger = self.harbour.ledger();
        let mut doubtful = Vec::new();
        for run in runs {
            let cells = self.cells_of(&run);
            ledger
                .rows(&run.id, &[Outcome::InDoubt], &mut |row| {
                    doubtful.push((run.id.clone(), row.line, cells[row.record as usize - 1].clone()));
                    Ok(())
                })
                .unwrap();
        }
        drop(ledger);
        let Some((run, line, cells)) = pick(&doubtful, which) else { return };
        // What is still to be applied is applied by then.
        thread::sleep(Duration::from_millis(250));
        let content = (cells["id"].clone(), cells["move"].clone(), cells["points"].parse().unwrap());
        let decision = match (self.effects().contains_key(&content), resend) {
            (true, _) => "applied",
            (false, true) => "resend",
            (false, false) => "not-applied",
        };
        self.harbour.run(&["settle", &format!("{run}:{line}"), decision, "--reason", "looked at the platform"]).exits(0);
        self.figures.settled += 1;
    }

    fn decide(&self, word: &str) {
        for run in self.harbour.runs().iter().filter(|run| run.state == State::Held) {
            self.harbour.run(&[word, &run.id]).exits(0);
        }
    }

    fn change(&self, change: Change) {
        let toggle = |text: &str, one: &str, other: &str| {
            if text.contains(one) { text.replacen(one, other, 1) } else { text.replacen(other, one, 1) }
        };
        let timezone = |text: String, feed: Feed| {
            let (head, tail) = text.split_once(&format!("[feed.{}]", feed.name())).unwrap();
            let (own, others) = tail.split_once("\n\n").unwrap_or((tail, ""));
            let own = toggle(own, "timezone = \"UTC\"", "timezone = \"Europe/Paris\"");
            format!("{head}[feed.{}]{own}\n\n{others}", feed.name())
        };
        self.harbour.change_config(|text| match change {
            Change::Workers => toggle(&text, "workers = 2", "workers = 3"),
            Change::Allowance => toggle(&text, "\"5000/s\"", "\"300/s\""),
            Change::TimezoneOfWeb => timezone(text, Feed::Web),
            Change::TimezoneOfTills => timezone(text, Feed::Tills),
        });
    }

    /// Takes away what is in the way, starts the program until nothing is left, and judges.
    fn check(&mut self, leave_held: bool) {
        self.figures.checks += 1;
        self.harbour.sandbox.faults().set(self.usual());
        for feed in Feed::ALL {
            self.harbour.run(&["resume", feed.name()]);
        }
        for sweep in 0.. {
            assert!(sweep < SWEEPS, "after {sweep} sweeps there is still something to do\n{}", self.harbour.said());
            let ran = self.harbour.once();
            assert!(matches!(ran.exit, 0 | 1 | 65 | 75), "once ends with {}\n{}", ran.exit, ran.err);
            let held = self.harbour.runs().iter().any(|run| run.state == State::Held);
            if held && !leave_held {
                self.decide("approve");
            } else if self.is_at_rest() {
                break;
            }
        }
        let runs = self.told();
        self.files_are_where_they_must_be(&runs);
        judge::judge(&runs, &self.truth());
        check_promises(&self.harbour);
        self.troubled = false;
    }

    /// Nothing is to be done but what waits for a person or behind what does.
    fn is_at_rest(&self) -> bool {
        let runs = self.harbour.runs();
        let blocked = |feed: Feed| runs.iter().any(|run| run.state == State::Held && feed_of(run) == feed);
        let runs_rest = runs.iter().all(|run| run.state.is_over() || run.state == State::Held || blocked(feed_of(run)));
        let files_rest = self.sent.iter().all(|sent| runs.iter().any(|run| run.name == sent.name.as_str()) || blocked(sent.feed));
        runs_rest && files_rest
    }

    fn files_are_where_they_must_be(&self, runs: &[Told]) {
        for sent in &self.sent {
            let run = runs.iter().find(|run| run.name == sent.name && run.kind != RunKind::Retry);
            let place = match run.map(|run| run.state) {
                Some(State::Done | State::DoneInDoubt | State::Superseded) => ".processed/",
                Some(State::Failed | State::Discarded | State::Stopped) => ".error/",
                _ => "",
            };
            let path = self.harbour.root.join(sent.feed.folder()).join(format!("{place}{}", sent.name));
            let there = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.harbour.said()));
            assert!(there == sent.content, "{} has other bytes than were delivered", path.display());
        }
    }

    fn cells_of(&self, run: &Run) -> Vec<Cells> {
        self.sent.iter().find(|sent| run.name == sent.name.as_str()).map(|sent| records(&sent.content)).unwrap_or_default()
    }

    /// All runs, in their order.
    fn told(&mut self) -> Vec<Told> {
        let ledger = self.harbour.ledger();
        let runs = self.harbour.runs();
        runs.iter()
            .map(|run| {
                if run.state.is_over() && !self.calm_runs.contains(&run.id) && !self.troubled_runs.contains(&run.id) {
                    if self.troubled { &mut self.troubled_runs } else { &mut self.calm_runs }.insert(run.id.clone());
                }
                let mut ended = BTreeMap::new();
                ledger
                    .rows(&run.id, &[], &mut |row| {
                        let codes = row.detail.codes();
                        let operations = row.detail.operations.iter().map(|note| (note.operation.clone(), note.outcome)).collect();
                        let end = Ended { outcome: row.outcome, codes, operations };
                        assert!(ended.insert(row.record, end).is_none(), "record {} of {} is there twice", row.record, run.id);
                        Ok(())
                    })
                    .unwrap();
                let feed = feed_of(run);
                let report = run.detail.reports.iter().find(|report| report.name.ends_with(".errors.csv") && run.state.is_over());
                let lines = report.map(|report| {
                    let path = self.harbour.root.join(feed.folder()).join("reports").join(&report.name);
                    records(&fs::read(path).unwrap())
                        .iter()
                        .map(|line| (line["_record"].parse().unwrap(), line["_outcome"].clone()))
                        .collect()
                });
                Told {
                    id: run.id.clone(),
                    name: run.shown_name(),
                    feed,
                    kind: run.kind,
                    parent: run.parent.clone(),
                    state: run.state,
                    nothing_new: run.detail.nothing_new,
                    troubled: !self.calm_runs.contains(&run.id),
                    cells: self.cells_of(run),
                    ended,
                    lines,
                }
            })
            .collect()
    }

    fn effects(&self) -> BTreeMap<Content, u64> {
        let mut effects = BTreeMap::new();
        for effect in self.harbour.sandbox.effects().into_iter().filter(passferry::sandbox::Effect::is_add) {
            let way = if effect.route == BURN { "burn" } else { "earn" };
            let amount = (effect.points / effect.times as f64).round() as u64;
            *effects.entry((effect.external_id, way.to_owned(), amount)).or_default() += effect.times;
        }
        effects
    }

    fn truth(&self) -> Truth {
        let passes = (1..=5).map(|n| format!("C-{n}")).chain((1..=4).map(|n| format!("M-{n}")));
        let cells = |pass: &str| {
            let member = self.harbour.sandbox.member(pass).unwrap();
            let text = |key: &str| member["metaData"][key].as_str().unwrap_or_default().to_owned();
            let points = member["points"].as_f64().unwrap_or_default().to_string();
            Cells::from([("points".to_owned(), points), ("store".to_owned(), text("store")), ("till".to_owned(), text("till"))])
        };
        Truth { effects: self.effects(), passes: passes.map(|pass| (pass.clone(), cells(&pass))).collect(), helps: self.helps }
    }
}

fn feed_of(run: &Run) -> Feed {
    Feed::ALL.into_iter().find(|feed| feed.name() == run.feed).unwrap_or_else(|| panic!("no feed {}", run.feed))
}

fn pick<T>(all: &[T], which: usize) -> Option<&T> {
    all.get(which.checked_rem(all.len())?)
}

/// An error report as its reader would mend it.
fn mended(report: &[u8], mend: Mend) -> Vec<u8> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(report);
    let labels = reader.headers().unwrap().clone();
    let column = |label: &str| labels.iter().position(|other| other == label);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&labels).unwrap();
    for record in reader.records() {
        let mut cells: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
        let get = |cells: &[String], label: &str| column(label).map(|index| cells[index].clone()).unwrap_or_default();
        let put = |cells: &mut [String], label: &str, text: String| {
            if let Some(index) = column(label) {
                cells[index] = text;
            }
        };
        let transaction: Option<u32> = get(&cells, "txn").strip_prefix("T-").and_then(|number| number.parse().ok());
        if let Some(number) = transaction {
            if get(&cells, "id") == "M-99" {
                put(&mut cells, "id", movement_pass(number));
            }
            match get(&cells, "points").parse::<u32>() {
                Err(_) => put(&mut cells, "points", (number * 8).to_string()),
                Ok(points) if points >= TOO_MANY => {
                    put(&mut cells, "points", (number * 8 + 5).to_string());
                    put(&mut cells, "move", "earn".to_owned());
                }
                Ok(_) => {}
            }
            if mend == Mend::OtherTransaction {
                // With an amount of its own, so that its effect would be known.
                put(&mut cells, "txn", format!("T-{}", number + 100_000));
                put(&mut cells, "points", ((number + 100_000) * 8).to_string());
            }
        } else if get(&cells, "points") == "x" {
            put(&mut cells, "points", "77".to_owned());
        }
        writer.write_record(&cells).unwrap();
    }
    writer.into_inner().unwrap()
}
