//! Finding passes: by one listing where several are sought and lists can be asked for them, singly otherwise (contract 4.4 and 9).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::protocol::Protocol;
use super::wire::{BODY_BYTES_MAX, BrokenList, Pass, parse_list};
use crate::outcome::Code;
use crate::platform::judge;
use crate::platform::judge::message;
use crate::platform::{Answer, Conversation, Finding, Step};
use crate::row::Target;

/// Times that an answer which cannot be read is asked for.
pub(super) const READS: u32 = 3;

pub(super) struct Find {
    protocol: Arc<dyn Protocol>,
    targets: Vec<Target>,
    findings: Vec<Option<Finding>>,
    todo: VecDeque<Ask>,
    current: Option<Ask>,
    /// When the present question was asked.
    moment: u32,
    unread: u32,
}

enum Ask {
    /// Indexes of external IDs, and the field to ask for them by.
    List(Vec<usize>, &'static str),
    One(usize),
}

impl Find {
    pub(super) fn new(protocol: Arc<dyn Protocol>, targets: &[Target]) -> Find {
        let mut todo = VecDeque::new();
        let mut findings = vec![None; targets.len()];
        let mut list = Vec::new();
        let mut bytes = 0;
        for (index, target) in targets.iter().enumerate() {
            let field = match target {
                Target::External(_) => protocol.filter_field(),
                Target::Pass(_) => None,
            };
            let Some(field) = field else {
                if protocol.can_get(target) {
                    todo.push_back(Ask::One(index));
                } else {
                    // No pass has such an identifier, and asking for it would change the address.
                    findings[index] = Some(Finding::Absent);
                }
                continue;
            };
            let filter_bytes = filter(field, target.text()).to_string().len() + 1;
            // A long list of long identifiers is asked for in pieces: bodies have a limit.
            if bytes + filter_bytes > BODY_BYTES_MAX - 200 && !list.is_empty() {
                todo.push_back(Ask::List(std::mem::take(&mut list), field));
                bytes = 0;
            }
            bytes += filter_bytes;
            list.push(index);
        }
        match (&*list, protocol.filter_field()) {
            ([only], _) if protocol.can_get(&targets[*only]) => todo.push_back(Ask::One(*only)),
            ([], _) | (_, None) => {}
            (_, Some(field)) => todo.push_back(Ask::List(list, field)),
        }
        Find { protocol, targets: targets.to_vec(), findings, todo, current: None, moment: 0, unread: 0 }
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
            Ask::List(indexes, _) if (200..300).contains(&status) => match parse_list(&body) {
                Ok(passes) => {
                    self.match_up(indexes, &passes);
                    return false;
                }
                Err(BrokenList::Told(words)) => format!("the listing broke off: {words}"),
                Err(BrokenList::Cut) => "the listing was cut short".to_owned(),
            },
            // Not every account can list by external ID; each can read one pass.
            Ask::List(indexes, _) => {
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
                None => "the answer is not the pass asked for".to_owned(),
            },
        };
        self.unread += 1;
        if self.unread < READS {
            return true;
        }
        self.settle(ask, &Finding::Failed { code: Code::AnswerUnreadable, message: unreadable });
        false
    }

    /// The finding that an answer about one pass proves; none when it proves nothing.
    fn read_one(&self, index: usize, status: u16, body: &[u8]) -> Option<Finding> {
        match status {
            200..=299 => {
                let pass = Pass::parse(body)?;
                self.protocol.is_meant(&self.targets[index], &pass).then(|| self.finding(&pass))
            }
            404 | 410 => Some(Finding::Absent),
            _ => Some(Finding::Failed {
                code: Code::UpdateRejected,
                message: format!("the pass cannot be read ({status}): {}", message(body)),
            }),
        }
    }

    /// Passes by their external ID, never by position; one that a listing leaves out is asked for by name before it counts as absent.
    fn match_up(&mut self, indexes: &[usize], passes: &[Pass]) {
        let mut by_external: HashMap<&str, Vec<&Pass>> = HashMap::with_capacity(passes.len());
        for pass in passes.iter().filter(|pass| !pass.id().is_empty() && self.protocol.is_live(pass)) {
            let same = by_external.entry(self.protocol.name_of(pass)).or_default();
            if same.iter().all(|other| other.id() != pass.id()) {
                same.push(pass);
            }
        }
        for &index in indexes {
            match by_external.get(self.targets[index].text()).map(Vec::as_slice) {
                None => self.one(index, Finding::Absent),
                Some([pass]) => self.findings[index] = Some(self.finding(pass)),
                Some(several) => {
                    self.findings[index] = Some(Finding::Several(several.iter().map(|pass| pass.id().to_owned()).collect()));
                }
            }
        }
    }

    fn finding(&self, pass: &Pass) -> Finding {
        if self.protocol.is_live(pass) { Finding::Found(self.protocol.found(pass, self.moment)) } else { Finding::Absent }
    }

    /// Asks for one by name, or settles it where a name cannot stand in a path.
    fn one(&mut self, index: usize, otherwise: Finding) {
        if self.protocol.can_get(&self.targets[index]) {
            self.todo.push_back(Ask::One(index));
        } else {
            self.findings[index] = Some(otherwise);
        }
    }

    fn settle(&mut self, ask: &Ask, finding: &Finding) {
        match ask {
            Ask::List(indexes, _) => indexes.iter().for_each(|&index| self.findings[index] = Some(finding.clone())),
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
            Ask::One(index) => self.protocol.get(&self.targets[*index]),
            Ask::List(indexes, field) => {
                let filters: Vec<Json> = indexes.iter().map(|&index| filter(field, self.targets[index].text())).collect();
                self.protocol.list(&json!({ "limit": -1, "filterGroups": [{ "condition": "OR", "fieldFilters": filters }] }))
            }
        };
        self.current = Some(ask);
        self.moment = self.protocol.writes().moment();
        Step::Send(request)
    }
}

fn filter(field: &str, external: &str) -> Json {
    json!({ "filterField": field, "filterValue": external, "filterOperator": "eq" })
}
