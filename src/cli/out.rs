//! Standard output and standard error. Colour where a terminal wants it; a closed pipe is not an error.

use std::io::{self, BufWriter, Write};

use anstream::AutoStream;

use crate::ledger::State;
pub use crate::page::words::{MASK, count, counted, span};
pub use crate::told::words::{ago, time};

/// Standard output, buffered, for one command's whole answer.
pub fn stdout() -> BufWriter<AutoStream<io::Stdout>> {
    BufWriter::new(anstream::stdout())
}

/// One line about what went wrong.
pub fn error(message: &str) {
    let _ = writeln!(anstream::stderr(), "passferry: {message}");
}

/// One line about how far something is, where no bar is drawn.
pub fn progress(message: &str) {
    let _ = writeln!(anstream::stderr(), "{message}");
}

pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

/// Writes a value as one line of JSON.
pub fn json(out: &mut impl Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// A table without lines, as wide as the terminal; unlimited where the output is no terminal.
pub fn table(heads: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    // Colours are left in or taken out by the stream, which knows NO_COLOR and what it writes to.
    table.enforce_styling();
    if !heads.is_empty() {
        table.set_header(heads.iter().map(|head| comfy_table::Cell::new(head).add_attribute(comfy_table::Attribute::Dim)));
    }
    table
}

/// Writes a table, without the blanks that fill its last column.
pub fn write_table(out: &mut impl Write, mut table: comfy_table::Table) -> anyhow::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A cell in the colour of a run's state.
pub fn state(state: State) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(state);
    match state {
        State::Done => cell.fg(comfy_table::Color::Green),
        State::Failed | State::DoneInDoubt => cell.fg(comfy_table::Color::Red),
        State::Held | State::Paused | State::Stopped => cell.fg(comfy_table::Color::Yellow),
        State::Applying => cell.fg(comfy_table::Color::Cyan),
        _ => cell,
    }
}

/// A heading of a page.
pub fn heading(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    use owo_colors::OwoColorize;
    writeln!(out, "\n{}", text.bold())?;
    Ok(())
}
