//! Standard output and standard error. Colour where a terminal wants it; a closed pipe is not an error.

use std::io::{self, BufWriter, Write};

use anstream::AutoStream;

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
