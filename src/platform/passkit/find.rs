//! Finding members: by one listing where several are sought, singly otherwise (contract 4.4 and 9).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Scope;
use super::wire::{BODY_BYTES_MAX, BrokenList, Member, is_segment, parse_list};
use crate::outcome::Code;
use crate::platform::judge;
use crate::platform::judge::message;
use crate::platform::{Answer, Conversation, Finding, Step};
use crate::row::{Found, Target};

/// Times that an answer which cannot be read is asked for.
pub(super) const READS: u32 = 3;

pub(super) struct Find {
    scope: Arc<Scope>,
    targets: Vec<Target>,
    findings: Vec<Option<Finding>>,
    todo: VecDeque<Ask>,
    current: Option<Ask>,
    unread: u32,
}

enum Ask {
    /// Indexes of external IDs.
    List(Vec<usize>),
    One(usize),
}

impl Find {
    pub(super) fn new(scope: Arc<Scope>, targets: &[Target]) -> Find {
        let mut todo = VecDeque::new();
        let mut findings = vec![None; targets.len()];
        let mut list = Vec::new();
        let mut bytes = 0;
        for (index, target) in targets.iter().enumerate() {
            let Target::External(external) = target else {
                if is_segment(target.text()) {
                    todo.push_back(Ask::One(index));
                } else {
                    // No pass has such an identifier, and asking for it would change the address.
                    findings[index] = Some(Finding::Absent);
                }
                continue;
            };
            let filter_bytes = filter(external).to_string().len() + 1;
            // A long list of long identifiers is asked for in pieces: bodies have a limit.
            if bytes + filter_bytes > BODY_BYTES_MAX - 200 && !list.is_empty() {
                todo.push_back(Ask::List(std::mem::take(&mut list)));
                bytes = 0;
            }
            bytes += filter_bytes;
            list.push(index);
        }
        match *list {
            [] => {}
            [only] if is_segment(targets[only].text()) => todo.push_back(Ask::One(only)),
            _ => todo.push_back(Ask::List(list)),
        }
        Find { scope, targets: targets.to_vec(), findings, todo, current: None, unread: 0 }
    }

    /// Takes the answer to the present question. True when it must be asked again.
    fn hear(&mut self, ask: &Ask, answer: Answer) -> bool {
        let (status, body) = match answer {
            Answer::Http { status, body } => (status, body),
            Answer::Exhausted { message, .. } | Answer::Lost { message } => {
                self.settle(ask, &Finding::Failed { code: Code::RetriesExhausted, message: judge::clean(&message) });
                return false;
            }
            Answer::Stopped { .. } => {
                self.todo.clear();
                self.settle(ask, &Finding::NotAttempted);
                return false;
            }
        };
        let unreadable = match ask {
            Ask::List(indexes) if (200..300).contains(&status) => match parse_list(&body) {
                Ok(members) => {
                    self.match_up(indexes, &members);
                    return false;
                }
                Err(BrokenList::Told(words)) => format!("the listing broke off: {words}"),
                Err(BrokenList::Cut) => "the listing was cut short".to_owned(),
            },
            // Not every account can list by external ID; each can read one member.
            Ask::List(indexes) => {
                for &index in indexes {
                    self.one(index, Finding::Failed { code: Code::UpdateRejected, message: message(&body) });
                }
                return false;
            }
            Ask::One(index) => match self.read_one(*index, status, &body) {
                Some(finding) => {
                    self.findings[*index] = Some(finding);
                    return false;
                }
                None => "the answer is not the member asked for".to_owned(),
            },
        };
        self.unread += 1;
        if self.unread < READS {
            return true;
        }
        self.settle(ask, &Finding::Failed { code: Code::AnswerUnreadable, message: unreadable });
        false
    }

    /// The finding that an answer to M2 or M3 proves; none when it proves nothing.
    fn read_one(&self, index: usize, status: u16, body: &[u8]) -> Option<Finding> {
        match status {
            200..=299 => {
                let member = Member::parse(body)?;
                let asked = match &self.targets[index] {
                    Target::External(external) => member.external_id() == external,
                    Target::Pass(id) => member.id() == id,
                };
                asked.then(|| finding(&self.scope, &member))
            }
            404 | 410 => Some(Finding::Absent),
            _ => Some(Finding::Failed {
                code: Code::UpdateRejected,
                message: format!("the pass cannot be read ({status}): {}", message(body)),
            }),
        }
    }

    /// Members by their external ID, never by position; one that a listing leaves out is asked for by name before it counts as absent.
    fn match_up(&mut self, indexes: &[usize], members: &[Member]) {
        let mut by_external: HashMap<&str, Vec<&Member>> = HashMap::with_capacity(members.len());
        for member in members.iter().filter(|member| !member.id().is_empty() && member.is_live_in(&self.scope.program)) {
            let same = by_external.entry(member.external_id()).or_default();
            if same.iter().all(|other| other.id() != member.id()) {
                same.push(member);
            }
        }
        for &index in indexes {
            match by_external.get(self.targets[index].text()).map(Vec::as_slice) {
                None => self.one(index, Finding::Absent),
                Some([member]) => self.findings[index] = Some(finding(&self.scope, member)),
                Some(several) => {
                    self.findings[index] = Some(Finding::Several(several.iter().map(|member| member.id().to_owned()).collect()));
                }
            }
        }
    }

    /// Asks for one by name, or settles it where a name cannot stand in a path.
    fn one(&mut self, index: usize, otherwise: Finding) {
        if is_segment(self.targets[index].text()) {
            self.todo.push_back(Ask::One(index));
        } else {
            self.findings[index] = Some(otherwise);
        }
    }

    fn settle(&mut self, ask: &Ask, finding: &Finding) {
        match ask {
            Ask::List(indexes) => indexes.iter().for_each(|&index| self.findings[index] = Some(finding.clone())),
            Ask::One(index) => self.findings[*index] = Some(finding.clone()),
        }
    }
}

impl Conversation<Vec<Finding>> for Find {
    fn next(&mut self, answer: Option<Answer>) -> Step<Vec<Finding>> {
        if let (Some(ask), Some(answer)) = (self.current.take(), answer)
            && self.hear(&ask, answer)
        {
            self.todo.push_front(ask);
        } else {
            self.unread = 0;
        }
        let Some(ask) = self.todo.pop_front() else {
            return Step::Done(self.findings.iter_mut().map(|finding| finding.take().unwrap_or(Finding::NotAttempted)).collect());
        };
        let request = match &ask {
            Ask::One(index) => self.scope.get_by(&self.targets[*index]),
            Ask::List(indexes) => {
                let filters: Vec<Json> = indexes.iter().map(|&index| filter(self.targets[index].text())).collect();
                self.scope.list(&json!({ "limit": -1, "filterGroups": [{ "condition": "OR", "fieldFilters": filters }] }))
            }
        };
        self.current = Some(ask);
        Step::Send(request)
    }
}

fn filter(external: &str) -> Json {
    json!({ "filterField": "externalId", "filterValue": external, "filterOperator": "eq" })
}

fn finding(scope: &Scope, member: &Member) -> Finding {
    if member.is_live_in(&scope.program) {
        Finding::Found(Found { pass_id: member.id().to_owned(), state: member.state() })
    } else {
        Finding::Absent
    }
}
