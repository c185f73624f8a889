//! A panic in one piece of work ends that piece, and nothing else on the sending thread (failure model A16).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The work panicked. What it said is in the log alone: it may quote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

impl Panicked {
    /// For the report of the row.
    pub(super) const WORDS: &str = "passferry itself failed at this row; its log says where";
}

/// Does the work to its end, or to its panic. What it had borrowed or taken leave for is given back as it unwinds.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(end)) => Poll::Ready(Ok(end)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
