//! One contract for all platforms: the same files, the same trouble, the same promises, whoever is spoken to.
//!
//! [`cases`] holds what is asked of a platform, [`table`] what each platform is; a new one is an entry there and its name in `suite!` below.
//! [`hosted`] is what is asked in their place where passes are hosted here. [`reach`] is what a person reads of an account that cannot be used.

mod cases;
mod hosted;
mod reach;
mod table;

use passferry::sandbox::Rule;
use serde_json::Value;

use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises;

/// A platform as the suite needs it. Column `points` is mapped to a whole number of its passes, `tier` to a text.
pub struct Entry {
    pub name: &'static str,
    /// Makes account and mapping of a plan this platform's.
    pub plan: fn(Plan) -> Plan,
    /// What only a running stand-in can tell: its address, keys, classes.
    pub open: fn(&Harbour),
    /// Puts passes there by their external IDs, which hold nothing of what is mapped, and something else.
    pub seed: fn(&Harbour, &[String]),
    /// What a pass holds; none where there is no such pass.
    pub held: fn(&Harbour, &str) -> Option<Held>,
    /// Narrows a rule of trouble to requests that change passes, or one pass.
    pub writes: fn(Rule, Option<&str>) -> Rule,
    /// Makes credentials end while a file of thirty rows is under way; they can be had anew.
    pub expire: fn(&Harbour),
    /// Cells by column that the platform would refuse or alter, and the code that says so.
    pub unfit: &'static [(&'static str, &'static str, &'static str)],
    /// A field that there is not, and what is said to write instead.
    pub misspelt: (&'static str, &'static str),
    /// What must never be seen, beside the planted key and secret.
    pub secrets: &'static [&'static str],
    pub adds: Option<Adds>,
    /// Keys of adds that took effect, and how often, where that is not at the sandbox.
    pub added: Option<AddedThere>,
    /// Changes of several passes travel in one request, at most five of them.
    pub batches: Option<Batches>,
    pub excused: &'static [Excuse],
    /// What may be wrong with an account, and the exit code of `check --reach`.
    pub wrong: &'static [Wrong],
}

/// What a batch counts for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    /// As many requests as it has parts.
    CountedByPart,
    CountedOnce,
}

/// What a pass holds, as texts; empty where it holds nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub points: String,
    pub tier: String,
    /// All that nobody mapped.
    pub rest: Value,
}

/// Asks another place than the sandbox which adds took effect, and how often.
pub type AddedThere = fn(&Harbour) -> Vec<(String, u64)>;

/// Something of which twice is wrong: of columns `points` or `message`, told apart by column `tx`.
pub struct Adds {
    pub plan: fn(Plan) -> Plan,
    /// Narrows a rule to the request that carries it.
    pub writes: fn(Rule) -> Rule,
    /// How often it took effect on a pass.
    pub effects: fn(&Harbour, &str) -> usize,
}

/// A case that a platform cannot be put to.
pub struct Excuse {
    pub case: &'static str,
    /// Why, in words; for whoever reads this.
    pub reason: &'static str,
    pub shown: Shown,
}

/// How an excuse is seen to hold.
pub enum Shown {
    /// The program says so itself: what `check` says to a plan that asks for it all the same.
    Refused { plan: fn(Plan) -> Plan, says: &'static str },
    /// What comes nearest to it happens, and does what the case is for.
    InItsPlace(fn(&Entry)),
}

pub struct Wrong {
    pub what: &'static str,
    pub make: fn(&Harbour),
    pub exit: i32,
}

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "integer" },
    { "name": "tier", "type": "string" },
    { "name": "tx", "type": "string" },
    { "name": "message", "type": "string" }
  ]
}
"#;

/// A harbour of the platform with passes `C-1` to `C-n`, the plan changed as a case wants it.
pub fn start(entry: &Entry, passes: usize, change: impl FnOnce(Plan) -> Plan) -> Harbour {
    let plan = harbour().folder().members(0).schema(SCHEMA);
    let plan = ["points", "\"metaData.tier\"", "\"person.emailAddress\""]
        .iter()
        .fold(plan, |plan, field| plan.feed(&format!("fields.{field}"), ""));
    let harbour = change((entry.plan)(plan)).start();
    (entry.open)(&harbour);
    let names: Vec<String> = (1..=passes).map(|n| format!("C-{n}")).collect();
    (entry.seed)(&harbour, &names);
    harbour
}

/// Puts a platform to a case, or shows why it cannot be.
fn put(entry: &Entry, name: &str, case: fn(&Entry)) {
    let Some(excuse) = entry.excused.iter().find(|excuse| excuse.case == name) else { return case(entry) };
    match excuse.shown {
        Shown::InItsPlace(case) => case(entry),
        Shown::Refused { plan, says } => {
            let told = start(entry, 0, plan).run(&["check"]);
            assert!(told.exit == 78 && told.err.contains(says), "{}, {name}: {} does not hold\n{}", entry.name, excuse.reason, told.err);
        }
    }
}

/// The promises, with adds counted where they took effect.
#[track_caller]
pub fn check_promises(entry: &Entry, harbour: &Harbour) {
    if let Some(added) = entry.added {
        harbour.elsewhere.replace(added(harbour));
    }
    promises::check_promises(harbour);
}

macro_rules! cases {
    ($platform:ident: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                super::put(&super::table::$platform(), stringify!($case), super::cases::$case);
            }
        )*

        #[test]
        fn what_is_wrong_with_an_account_is_told() {
            super::reach::told(&super::table::$platform());
        }

        #[test]
        fn every_excuse_is_for_a_case() {
            let all = [$(stringify!($case)),*];
            assert!(super::table::$platform().excused.iter().all(|excuse| all.contains(&excuse.case)));
        }
    };
}

macro_rules! suite {
    ($($platform:ident)*) => {
        $(
            mod $platform {
                cases! { $platform:
                    present_passes_are_changed_and_absent_ones_told
                    an_update_changes_what_is_mapped_and_only_when_it_changed
                    an_upsert_issues_what_is_not_there
                    an_empty_cell_clears_where_the_schema_says_so
                    changes_of_a_pass_keep_their_order
                    a_platform_that_asks_to_slow_down_is_obeyed
                    an_outage_rejects_nothing_and_the_run_resumes
                    credentials_that_end_in_mid_run_are_renewed
                    one_bad_row_harms_no_other
                    a_lost_answer_to_a_change_costs_nothing
                    a_lost_answer_to_an_add_never_adds_twice
                    what_the_platform_cannot_hold_is_never_sent
                    an_unknown_field_is_told_before_any_file_comes
                    nothing_secret_or_personal_is_told
                }
            }
        )*
    };
}

suite! { passkit coupons tickets google_wallet thewalletcrew http http_batch airship apple_wallet }
