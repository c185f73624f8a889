//! Places in JSON (RFC 6901), as a configuration writes them: `/data/id`.

use serde_json::{Map, Value as Json};

/// A place in JSON. The empty one is the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    steps: Vec<String>,
}

impl Pointer {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer::default());
        }
        let Some(steps) = text.strip_prefix('/') else {
            return Err(format!(
                "is no place in JSON: it does not begin with \"/\"; write \"/{}\"",
                text.trim_start_matches("$.").replace('.', "/")
            ));
        };
        let step = |text: &str| {
            let rest = text.replace("~0", "").replace("~1", "");
            if rest.contains('~') { None } else { Some(text.replace("~1", "/").replace("~0", "~")) }
        };
        let steps: Option<Vec<String>> = steps.split('/').map(step).collect();
        steps.map(|steps| Pointer { steps }).ok_or_else(|| "is no place in JSON: \"~\" is written ~0 and \"/\" in a name ~1".to_owned())
    }

    /// The place that a dotted name means: `metaData.tier` is `/metaData/tier`.
    pub fn of_name(name: &str) -> Pointer {
        Pointer { steps: name.split('.').map(str::to_owned).collect() }
    }

    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// The same place with `{name}` replaced.
    #[must_use]
    pub fn with_name(&self, name: &str) -> Pointer {
        Pointer { steps: self.steps.iter().map(|step| step.replace("{name}", name)).collect() }
    }

    /// Is one of them the other, or inside it?
    pub fn overlaps(&self, other: &Pointer) -> bool {
        std::iter::zip(&self.steps, &other.steps).all(|(a, b)| a == b)
    }

    pub fn get<'j>(&self, json: &'j Json) -> Option<&'j Json> {
        self.steps.iter().try_fold(json, |json, step| match json {
            Json::Object(members) => members.get(step),
            Json::Array(items) => items.get(index(step)?),
            _ => None,
        })
    }

    /// The text there; numbers and truth values as they are written. None where there is nothing, or more than a word.
    pub fn text(&self, json: &Json) -> Option<String> {
        word(self.get(json)?)
    }

    /// Puts a value there, with the objects on the way to it. False where something else stands in the way.
    pub fn set(&self, json: &mut Json, value: Json) -> bool {
        let mut here = json;
        for step in &self.steps {
            if here.is_null() {
                *here = Json::Object(Map::new());
            }
            here = match here {
                Json::Object(members) => members.entry(step).or_insert(Json::Null),
                Json::Array(items) => match index(step).and_then(|index| items.get_mut(index)) {
                    Some(item) => item,
                    None => return false,
                },
                _ => return false,
            };
        }
        *here = value;
        true
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.steps.iter().try_for_each(|step| write!(out, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

/// Lays one value over another: members of objects one by one, everything else as a whole.
pub fn lay_over(under: &mut Json, over: Json) {
    match (under, over) {
        (Json::Object(under), Json::Object(over)) => {
            for (name, value) in over {
                lay_over(under.entry(name).or_insert(Json::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// A scalar as the word it is written as.
pub fn word(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(on) => Some(on.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| step.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_read_as_rfc_6901_says() {
        let json = json!({ "a": [{ "b/c": 1 }, true], "m~n": "x", "": 0 });
        let at = |text: &str| Pointer::parse(text).unwrap().text(&json);
        assert_eq!(at("/a/0/b~1c").as_deref(), Some("1"));
        assert_eq!(at("/a/1").as_deref(), Some("true"));
        assert_eq!(at("/m~0n").as_deref(), Some("x"));
        assert_eq!(at("/").as_deref(), Some("0"));
        assert_eq!(at("/a/01"), None);
        assert_eq!(at("/a"), None, "more than a word");
        assert_eq!(Pointer::parse("/a/0/b~1c").unwrap().to_string(), "/a/0/b~1c");
        assert!(Pointer::parse("$.data.id").unwrap_err().contains("\"/data/id\""));
        assert!(Pointer::parse("/a~2").is_err());
    }

    #[test]
    fn a_value_is_put_in_with_the_way_to_it() {
        let mut json = json!({ "list": [{}] });
        assert!(Pointer::parse("/a/b").unwrap().set(&mut json, json!(1)));
        assert!(Pointer::parse("/list/0/c").unwrap().set(&mut json, json!(2)));
        assert_eq!(json, json!({ "list": [{ "c": 2 }], "a": { "b": 1 } }));
        assert!(!Pointer::parse("/a/b/c").unwrap().set(&mut json, json!(3)));
        assert!(!Pointer::parse("/list/1").unwrap().set(&mut json, json!(3)));
    }

    #[test]
    fn places_inside_each_other_are_seen() {
        let at = |text: &str| Pointer::parse(text).unwrap();
        assert!(at("/a").overlaps(&at("/a/b")) && at("/a/b").overlaps(&at("/a/b")));
        assert!(!at("/a/b").overlaps(&at("/a/c")));
    }

    #[test]
    fn one_object_is_laid_over_another() {
        let mut under = json!({ "a": { "x": 1, "y": 2 }, "b": [1] });
        lay_over(&mut under, json!({ "a": { "y": 3 }, "b": [2], "c": null }));
        assert_eq!(under, json!({ "a": { "x": 1, "y": 3 }, "b": [2], "c": null }));
    }
}
