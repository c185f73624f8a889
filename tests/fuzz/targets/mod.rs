//! What is fuzzed: one function for each place where bytes come in that somebody else wrote. A target panics when a promise is broken.

mod answers;
mod config;
mod corrections;
mod csv;
mod names;
mod scanner;
mod schema;
mod templates;

pub struct Target {
    /// Also the name of its folder in `corpus` and of its file in `words`.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const ALL: [Target; 7] = [
    Target { name: "scanner", run: scanner::target },
    Target { name: "schema", run: schema::target },
    Target { name: "config", run: config::target },
    Target { name: "names", run: names::target },
    Target { name: "answers", run: answers::target },
    Target { name: "corrections", run: corrections::target },
    Target { name: "templates", run: templates::target },
];

pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// The parts of a text between lines of three hyphens: inputs that say several things stay readable.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n---\n")
}
