//! The `OpenAPI` document of the API, made from the very types that are read and written.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

type Make = fn(&mut SchemaGenerator) -> Schema;

/// A call as it is described.
#[derive(Clone, Copy)]
pub struct Call {
    method: &'static str,
    /// Below `/api/v1`.
    pub path: &'static str,
    summary: &'static str,
    /// Approvers alone may.
    decides: bool,
    /// Statuses of its own, beside those that every call may have.
    faults: &'static [&'static str],
    query: Option<Make>,
    body: Option<Make>,
    answer: Option<Make>,
}

impl Call {
    pub fn get(path: &'static str, summary: &'static str) -> Call {
        Call { method: "get", path, summary, decides: false, faults: &[], query: None, body: None, answer: None }
    }

    pub fn post(path: &'static str, summary: &'static str) -> Call {
        Call { method: "post", decides: true, ..Call::get(path, summary) }
    }

    /// It only looks, although it is posted.
    pub fn for_viewers(self) -> Call {
        Call { decides: false, ..self }
    }

    pub fn faults(self, faults: &'static [&'static str]) -> Call {
        Call { faults, ..self }
    }

    fn may_answer(&self, status: &str) -> bool {
        match status {
            "400" | "401" | "421" | "500" | "503" => true,
            "403" | "409" if self.decides => true,
            "404" => self.path.contains('{'),
            "413" => self.body.is_some(),
            other => self.faults.contains(&other),
        }
    }

    pub fn query<T: JsonSchema>(self) -> Call {
        Call { query: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    pub fn takes<T: JsonSchema>(self) -> Call {
        Call { body: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    pub fn answers<T: JsonSchema>(self) -> Call {
        Call { answer: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }
}

pub struct Document {
    /// Of what is sent to us: what may be left out has a value then.
    asked: SchemaGenerator,
    /// Of what is answered: what may be left out is absent where there is none of it.
    told: SchemaGenerator,
    paths: Map<String, Value>,
}

/// Statuses other than success, and when they come.
const FAULTS: [(&str, &str); 11] = [
    ("400", "What was sent is not what the call takes"),
    ("401", "No token, or none that is known"),
    ("403", "The token may look and not decide"),
    ("404", "No such run, row, feed or report"),
    ("409", "Not in a state for it, or no longer what was seen"),
    ("413", "The body is too long"),
    ("421", "The host is none of this page"),
    ("422", "A row is still wrong, or none was changed; nothing was sent"),
    ("500", "A defect, or storage; the log tells what"),
    ("502", "The source cannot be reached; nothing was sent"),
    ("503", "It took too long and was given up; what was asked for may be done all the same"),
];

/// What stands in a place of a path. Rows alone are numbered.
fn of_place(name: &str) -> Value {
    if name == "number" { json!({ "type": "integer", "minimum": 0 }) } else { json!({ "type": "string", "minLength": 1 }) }
}

impl Document {
    pub fn new() -> Document {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Document { asked: settings.clone().into_generator(), told: settings.for_serialize().into_generator(), paths: Map::new() }
    }

    pub fn add(&mut self, call: Call) {
        let named = call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<Value> =
            named.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": of_place(name) })).collect();
        if let Some(query) = call.query {
            // Named once among the schemas, and told here field by field.
            let schema = query(&mut self.asked);
            let name = schema.as_value()["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
            let whole = self.asked.definitions_mut().remove(&name).unwrap_or_default();
            for (name, schema) in whole["properties"].as_object().into_iter().flatten() {
                parameters.push(json!({ "name": name, "in": "query", "schema": schema }));
            }
        }
        let content = |schema: Schema| json!({ "application/json": { "schema": schema } });
        let mut told = json!({ "summary": call.summary, "parameters": parameters });
        if let Some(body) = call.body {
            told["requestBody"] = json!({ "required": true, "content": content(body(&mut self.asked)) });
        }
        let mut answers = Map::new();
        let good = match call.answer {
            Some(answer) => json!({ "description": "Done", "content": content(answer(&mut self.told)) }),
            None => json!({ "description": "Done" }),
        };
        answers.insert("200".into(), good);
        for (status, when) in FAULTS {
            if call.may_answer(status) {
                let fault = json!({ "$ref": "#/components/schemas/Fault" });
                answers.insert(status.into(), json!({ "description": when, "content": { "application/json": { "schema": fault } } }));
            }
        }
        told["responses"] = answers.into();
        if call.decides {
            told["description"] = "For tokens of approvers.".into();
        }
        let path = self.paths.entry(format!("/api/v1{}", call.path)).or_insert_with(|| json!({}));
        path[call.method] = told;
    }

    pub fn finish(mut self) -> Value {
        let mut schemas: Map<String, Value> = self.asked.take_definitions(true);
        schemas.extend(self.told.take_definitions(true));
        let fault = json!({ "type": "object", "required": ["error"], "properties": { "error": { "type": "string", "description": "What is so, and what to do instead." } } });
        schemas.insert("Fault".into(), fault);
        schemas.sort_keys();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "passferry",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "What the review page shows and does. Every call carries a token: Authorization: Bearer pf_…, made by passferry review --add-token.",
            },
            "security": [{ "token": [] }],
            "paths": self.paths,
            "components": { "schemas": schemas, "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        })
    }
}
