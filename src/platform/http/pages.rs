//! Lists that come page by page.

use serde_json::Value as Json;
use url::{Url, form_urlencoded};

use crate::config::meant::http::{Http, Next};
use crate::platform::Request;

/// Pages of one list that are read at most: one that never ends proves nothing.
const PAGES_MAX: usize = 1000;

impl Http {
    /// The request for the page behind this one; none behind the last. `asked` are the pages so far, and takes this one. The error says why
    /// there is none though there should be.
    pub(super) fn page_after(
        &self,
        next: Option<&Next>,
        request: &Request,
        asked: &mut Vec<String>,
        answer: &Json,
    ) -> Result<Option<Request>, String> {
        let Some(next) = next else { return Ok(None) };
        let mark = match next.at.get(answer) {
            None | Some(Json::Null | Json::Bool(false)) => return Ok(None),
            Some(_) => next.at.text(answer).ok_or_else(|| format!("what stands at {} is no page", next.at))?,
        };
        if mark.is_empty() {
            return Ok(None);
        }
        let path = match &next.parameter {
            Some(name) => with_parameter(&request.path, name, &mark),
            None => self.path_of(&request.path, &mark)?,
        };
        asked.push(request.path.clone());
        if asked.contains(&path) {
            return Err("the list names a page that was read before".to_owned());
        }
        if asked.len() >= PAGES_MAX {
            return Err("the list has no end".to_owned());
        }
        Ok(Some(Request { path, ..request.clone() }))
    }

    /// An address as the platform gives it, below its own: credentials go nowhere else.
    fn path_of(&self, from: &str, address: &str) -> Result<String, String> {
        let here = Url::parse(&format!("{}{from}", self.base_url)).map_err(|_| "the list's own address is none".to_owned())?;
        let there = here.join(address).map_err(|_| "the list names a page that is no address".to_owned())?;
        let path = there.as_str().strip_prefix(&self.base_url).filter(|path| path.starts_with(['/', '?']));
        path.map(str::to_owned).ok_or_else(|| "the list names a page at another address, where nobody is asked".to_owned())
    }
}

/// The path with this parameter in its query, in place of the one it may have.
fn with_parameter(path: &str, name: &str, value: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_it = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).all(|(known, _)| known != name);
    let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).filter(is_it).map(str::to_owned).collect();
    pairs.push(form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish());
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_takes_the_place_of_the_one_before() {
        assert_eq!(with_parameter("/passes", "page", "a b/c"), "/passes?page=a+b%2Fc");
        assert_eq!(with_parameter("/passes?id=C%2F1&page=2&x=1", "page", "3"), "/passes?id=C%2F1&x=1&page=3");
    }
}
