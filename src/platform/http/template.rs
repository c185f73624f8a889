//! Templates of a configuration: request lines, headers and bodies in which `{{ … }}` stands for a value.
//!
//! A value is put in as what it is: percent-encoded into an address, as JSON into a body. No text is ever pasted into JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use reqwest::Method;
use serde_json::{Map, Value as Json};

use crate::platform::address::{escape, is_segment};

/// Steps that filling in one expression may take.
const FUEL: u64 = 20_000;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    for filter in ["indent", "tojson", "pprint", "batch", "slice", "format"] {
        engine.remove_filter(filter);
    }
    for function in ["range", "namespace", "debug"] {
        engine.remove_global(function);
    }
    engine
});

/// What templates are filled with.
#[derive(Clone, Debug, Default)]
pub struct Words(BTreeMap<&'static str, Value>);

impl Words {
    /// Is there such a word?
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn set(&mut self, name: &'static str, value: &str) {
        self.0.insert(name, Value::from(value));
    }

    /// A word as text; empty where it is not set.
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).map(shown).unwrap_or_default()
    }

    pub fn set_json(&mut self, name: &'static str, value: &Json) {
        self.0.insert(name, Value::from(Serde(value)));
    }
}

/// A text with expressions in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expression(String),
}

impl Template {
    /// The error says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        if rest.contains("{%") || rest.contains("{#") {
            return Err("has a statement or comment of a template; write values alone, as {{ external_id }}".to_owned());
        }
        while let Some((literal, behind)) = rest.split_once("{{") {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (expression, behind) = behind.split_once("}}").ok_or("opens {{ and never closes it; write {{ NAME }}")?;
            let expression = expression.trim().to_owned();
            ENGINE.compile_expression(&expression).map_err(|error| {
                let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                format!("has {{{{ {expression} }}}}, which is no expression: {detail}")
            })?;
            parts.push(Part::Expression(expression));
            rest = behind;
        }
        if rest.contains("}}") {
            return Err("closes }} and never opens it; write {{ NAME }}".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Template { parts })
    }

    /// The words it needs.
    pub fn names(&self) -> BTreeSet<String> {
        let expressions = self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => ENGINE.compile_expression(expression).ok(),
            Part::Literal(_) => None,
        });
        let mut names: BTreeSet<String> = expressions.flat_map(|expression| expression.undeclared_variables(false)).collect();
        for (global, _) in ENGINE.globals() {
            names.remove(global);
        }
        names
    }

    /// The text, each value passed through `fit` first.
    fn fill_with(&self, words: &Words, fit: impl Fn(&str) -> String) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Expression(expression) => text.push_str(&fit(&shown(&evaluate(expression, words)?))),
            }
        }
        Ok(text)
    }

    pub fn fill(&self, words: &Words) -> Result<String, String> {
        self.fill_with(words, str::to_owned)
    }

    /// The value itself where the whole text is one expression, else a text.
    fn fill_json(&self, words: &Words) -> Result<Json, String> {
        match &*self.parts {
            [Part::Expression(expression)] => json(&evaluate(expression, words)?),
            _ => self.fill(words).map(Json::String),
        }
    }
}

fn evaluate(expression: &str, words: &Words) -> Result<Value, String> {
    // What the engine says of an operation may repeat its operands, which may be personal; the expression is the configuration's own.
    let cannot = |error: &minijinja::Error| format!("{{{{ {expression} }}}} cannot be filled in: {}", error.kind());
    let compiled = ENGINE.compile_expression(expression).map_err(|error| cannot(&error))?;
    let value = compiled.eval(Value::from(words.0.clone())).map_err(|error| cannot(&error))?;
    if value.is_undefined() { Err(format!("{{{{ {expression} }}}} has no value here")) } else { Ok(value) }
}

fn json(value: &Value) -> Result<Json, String> {
    serde_json::to_value(value).map_err(|_| "a template gives what JSON cannot hold".to_owned())
}

/// A value as text. Nothing is an empty text.
fn shown(value: &Value) -> String {
    if value.is_none() { String::new() } else { value.to_string() }
}

/// A request line: a method and an address below the platform's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub method: Method,
    address: Template,
    /// The path ends with a slash.
    open: bool,
}

impl Line {
    /// `PATCH /passes/{{ external_id }}`. The error says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Line, String> {
        let example = "write such as \"PATCH /passes/{{ external_id }}\"";
        let (method, address) = text.trim().split_once(' ').ok_or_else(|| format!("is not a method and an address; {example}"))?;
        let method = match method {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            _ => return Err(format!("begins with no method that can be sent (GET, POST, PUT, PATCH, DELETE); {example}")),
        };
        let address = address.trim();
        if !address.starts_with('/') {
            return Err(format!("has an address that does not begin with \"/\": it stands below base_url; {example}"));
        }
        let parsed = Template::parse(address)?;
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#');
        for part in &parsed.parts {
            if let Part::Literal(text) = part
                && let Some(odd) = text.chars().find(|&c| !plain(c))
            {
                return Err(format!("has {odd:?} in its address, which has no place there; percent-encode it"));
            }
        }
        let example = parsed.fill_with_example();
        let path = example.split('?').next().unwrap_or_default();
        let open = path.ends_with('/');
        if !is_plain(path, open) {
            return Err("has an empty part, \".\" or \"..\" in its address, which servers read as another one; remove it".to_owned());
        }
        Ok(Line { method, address: parsed, open })
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.address.names()
    }

    /// The path and query. Fails where a value would make it another address than the one that is meant.
    pub fn fill(&self, words: &Words) -> Result<String, String> {
        let path = self.address.fill_with(words, escape)?;
        if is_plain(path.split('?').next().unwrap_or_default(), self.open) {
            Ok(path)
        } else {
            Err("the platform cannot be asked about this identifier: it would change the address".to_owned())
        }
    }
}

/// Does every part of the path name something? Behind the last slash may be nothing where the configuration wrote it so.
fn is_plain(path: &str, open: bool) -> bool {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = if open { inner.strip_suffix('/').unwrap_or(inner) } else { inner };
    (open && path == "/") || inner.split('/').all(is_segment)
}

impl Template {
    /// The text with a harmless word for each value.
    fn fill_with_example(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Expression(_) => "x",
        });
        parts.collect()
    }
}

/// JSON in which texts, and names of members, are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Fixed(Json),
    Text(Template),
    List(Vec<Body>),
    Object(Vec<(Template, Body)>),
}

impl Default for Body {
    fn default() -> Body {
        Body::Object(Vec::new())
    }
}

impl Body {
    /// Reads JSON. The error says where it breaks off.
    pub fn parse(text: &str) -> Result<Body, String> {
        let json: Json = serde_json::from_str(text)
            .map_err(|error| format!("is not JSON: {error}; values stand in quotes: \"{{{{ external_id }}}}\""))?;
        Body::of(json)
    }

    fn of(json: Json) -> Result<Body, String> {
        Ok(match json {
            Json::String(text) => Body::Text(Template::parse(&text).map_err(|fault| format!("{text:?} {fault}"))?),
            Json::Array(items) => Body::List(items.into_iter().map(Body::of).collect::<Result<_, _>>()?),
            Json::Object(members) => {
                let member = |(name, value): (String, Json)| {
                    let name = Template::parse(&name).map_err(|fault| format!("{name:?} {fault}"))?;
                    Ok::<_, String>((name, Body::of(value)?))
                };
                Body::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            fixed => Body::Fixed(fixed),
        })
    }

    pub fn names(&self) -> BTreeSet<String> {
        match self {
            Body::Fixed(_) => BTreeSet::new(),
            Body::Text(template) => template.names(),
            Body::List(items) => items.iter().flat_map(Body::names).collect(),
            Body::Object(members) => members.iter().flat_map(|(name, value)| name.names().into_iter().chain(value.names())).collect(),
        }
    }

    pub fn fill(&self, words: &Words) -> Result<Json, String> {
        Ok(match self {
            Body::Fixed(json) => json.clone(),
            Body::Text(template) => template.fill_json(words)?,
            Body::List(items) => Json::Array(items.iter().map(|item| item.fill(words)).collect::<Result<_, _>>()?),
            Body::Object(members) => {
                let mut object = Map::new();
                for (name, value) in members {
                    object.insert(name.fill(words)?, value.fill(words)?);
                }
                Json::Object(object)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words() -> Words {
        let mut words = Words::default();
        words.set("external_id", "C/1 é?");
        words.set_json("amount", &json!(12.5));
        words.set_json("found", &json!({ "version": 7, "tags": ["a"], "none": null }));
        words.set("nasty", "\"},{\"admin\":true,\"{{ found }}");
        words
    }

    #[test]
    fn a_line_is_a_method_and_an_address_whose_values_are_escaped() {
        let line = Line::parse("PATCH /passes/ref:{{ external_id }}?v={{ found.version + 1 }}").unwrap();
        assert_eq!(line.method, Method::PATCH);
        assert_eq!(line.fill(&words()).unwrap(), "/passes/ref:C%2F1%20%C3%A9%3F?v=8");
        assert_eq!(line.names().into_iter().collect::<Vec<_>>(), ["external_id", "found"]);
        assert_eq!(Line::parse("GET /").unwrap().fill(&words()).unwrap(), "/");
    }

    #[test]
    fn an_identifier_that_would_be_a_step_of_the_path_is_not_asked_for() {
        let line = Line::parse("GET /passes/{{ external_id }}/state").unwrap();
        let last = Line::parse("GET /passes/{{ external_id }}").unwrap();
        let slash = Line::parse("GET /passes/{{ external_id }}/").unwrap();
        for bad in ["", ".", ".."] {
            let mut words = Words::default();
            words.set("external_id", bad);
            for line in [&line, &last, &slash] {
                assert!(line.fill(&words).unwrap_err().contains("change the address"), "{bad:?}");
            }
        }
        assert_eq!(slash.fill(&words()).unwrap(), "/passes/C%2F1%20%C3%A9%3F/");
        // In a query the same texts are harmless.
        let mut words = Words::default();
        words.set("external_id", "..");
        assert_eq!(Line::parse("GET /passes?id={{ external_id }}").unwrap().fill(&words).unwrap(), "/passes?id=..");
    }

    #[test]
    fn lines_that_cannot_be_meant_are_refused_with_the_cure() {
        for (line, words) in [
            ("/passes", "is not a method and an address"),
            ("FETCH /passes", "no method that can be sent"),
            ("GET passes", "does not begin with"),
            ("GET https://other.example/", "does not begin with"),
            ("GET /a/../b", "\"..\""),
            ("GET /a//b", "empty part"),
            ("GET //", "empty part"),
            ("GET /a b", "percent-encode it"),
            ("GET /a#b", "percent-encode it"),
            ("GET /{{ a", "never closes"),
            ("GET /a }}", "never opens"),
            ("GET /{{ a b }}", "no expression"),
            ("GET /{% if a %}{% endif %}", "values alone"),
        ] {
            let fault = Line::parse(line).unwrap_err();
            assert!(fault.contains(words), "{line}: {fault}");
        }
    }

    #[test]
    fn a_body_takes_values_as_what_they_are() {
        let body = Body::parse(
            r#"{ "id": "{{ external_id }}", "n": "{{ amount }}", "v": "{{ found.version + 1 }}", "tags": "{{ found.tags }}", "none": "{{ found.none }}",
                 "text": "no. {{ amount }}", "fixed": 1, "list": ["{{ external_id }}", null], "{{ external_id }}": true }"#,
        )
        .unwrap();
        let expected = json!({ "id": "C/1 é?", "n": 12.5, "v": 8, "tags": ["a"], "none": null, "text": "no. 12.5", "fixed": 1,
            "list": ["C/1 é?", null], "C/1 é?": true });
        assert_eq!(body.fill(&words()).unwrap(), expected);
    }

    #[test]
    fn no_value_breaks_out_of_its_place() {
        let body = Body::parse(r#"{ "a": "{{ nasty }}", "b": "x {{ nasty }}" }"#).unwrap().fill(&words()).unwrap();
        assert_eq!(body["a"], "\"},{\"admin\":true,\"{{ found }}");
        assert_eq!(body.as_object().unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_filled_in_is_told_without_the_values() {
        let fault = |text: &str| Body::parse(text).unwrap().fill(&words()).unwrap_err();
        assert!(fault(r#""{{ nobody }}""#).contains("nobody"));
        assert!(fault(r#""{{ found.absent }}""#).contains("found.absent"));
        let told = fault(r#""{{ external_id + 1 }}""#);
        assert!(!told.contains("C/1"), "{told}");
        assert!(Body::parse("{ 'a': 1 }").unwrap_err().contains("is not JSON"));
    }
}
