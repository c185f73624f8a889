//! The configuration: read as written, then as meant.
//!
//! One TOML file. [`load`] reads it into [`written`] types, checks them, and gives [`meant`] types or every fault of the file at once.

mod check;
mod document;
mod fault;
mod keys;
pub mod meant;
mod value;
pub mod written;

pub(crate) use check::fingerprint;
use std::path::{Path, PathBuf};

pub use fault::{Fault, Faults};
use serde::Deserialize;

/// `samples/passferry.toml`: every option with its default and the reason.
pub const SAMPLE: &str = include_str!("../../samples/passferry.toml");

/// Reads and checks a configuration file and the schemas it names; relative paths in it start at its folder.
/// Fails with every fault found, not the first.
pub fn load(path: &Path) -> Result<meant::Config, Faults> {
    let base = path.parent().unwrap_or(Path::new(""));
    let faults = match std::fs::read(path) {
        Err(error) => vec![Fault::of_file(format!("cannot be read: {error}"))],
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Err(error) => vec![Fault::of_file(format!("is not UTF-8: bad byte at offset {}; save it as UTF-8", error.valid_up_to()))],
            Ok(text) => return load_text(text, base).map_err(|faults| Faults { file: path.display().to_string(), ..faults }),
        },
    };
    Err(Faults { file: path.display().to_string(), faults })
}

/// The state directory that a file names, however much else is wrong with the file. None when not even that can be read.
pub fn state_of(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path).ok()?;
    let named = |line: &str| {
        let value = line.trim().strip_prefix("state")?.trim_start().strip_prefix('=')?.trim();
        toml::Value::deserialize(toml::de::ValueDeserializer::parse(value).ok()?).ok()?.as_str().map(str::to_owned)
    };
    let text = text.lines().take_while(|line| !line.trim_start().starts_with('[')).find_map(named)?;
    Some(path.parent().unwrap_or(Path::new("")).join(text))
}

/// As [`load`], from a text; relative paths start at `base`. The file is called `passferry.toml` in faults.
pub fn load_text(text: &str, base: &Path) -> Result<meant::Config, Faults> {
    check::config(text, base).map_err(|faults| Faults { file: "passferry.toml".into(), faults })
}

/// The JSON Schema of the file as written, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(written::Config).to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: what may be absent is simply not required.
fn without_null(schema: &mut serde_json::Value) {
    use serde_json::Value;
    let is_null = |value: &Value| value == "null" || value.get("type").is_some_and(|kind| kind == "null");
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            for key in ["type", "anyOf"] {
                let Some(Value::Array(choices)) = object.get_mut(key) else { continue };
                choices.retain(|choice| !is_null(choice));
                if choices.len() > 1 {
                    continue;
                }
                match (key, choices.pop()) {
                    ("type", Some(only)) => drop(object.insert(key.into(), only)),
                    (_, Some(Value::Object(only))) => {
                        object.remove(key);
                        object.extend(only);
                    }
                    _ => {}
                }
            }
            object.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// The file to read: the one given, else the first there is of `$PASSFERRY_CONFIG`, `./passferry.toml`,
/// `$XDG_CONFIG_HOME/passferry/passferry.toml` and `/etc/passferry/passferry.toml`. Fails when there is none, naming the places.
/// A file that was named (`--config`, `$PASSFERRY_CONFIG`) is not looked for elsewhere.
pub fn find(explicit: Option<&Path>) -> anyhow::Result<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = explicit.map(Path::to_owned).or_else(|| var("PASSFERRY_CONFIG")) {
        anyhow::ensure!(path.is_file(), "there is no configuration file {}", path.display());
        return Ok(path);
    }
    let user = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
    let places: Vec<PathBuf> = [
        Some(PathBuf::from("passferry.toml")),
        user.map(|folder| folder.join("passferry/passferry.toml")),
        Some(PathBuf::from("/etc/passferry/passferry.toml")),
    ]
    .into_iter()
    .flatten()
    .collect();
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        anyhow::anyhow!(
            "no configuration file (looked for {}); write one with: passferry config sample > passferry.toml",
            places.join(", ")
        )
    })
}

#[cfg(test)]
mod tests;
