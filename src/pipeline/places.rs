//! Which real folder an inbox is. Two inboxes that are one folder would take each file twice, so the second is refused
//! (failure model, C25).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bstr::{BStr, BString, ByteSlice};
use tracing::warn;

use crate::source::link::Link;
use crate::source::{Place, Source, SourceError, join};

/// An inbox as the configuration names it: source and folder.
pub type Inbox = (String, BString);

/// Two inboxes of the configuration that are one folder.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "inbox {:?} of source {} and inbox {:?} of source {} are the same folder ({:?}), so that each file would be taken twice; \
     let all its feeds name one of them, the same source and the same inbox",
    .later.1, .later.0, .earlier.1, .earlier.0, .path
)]
pub struct SameFolder {
    pub earlier: Inbox,
    pub later: Inbox,
    pub path: BString,
}

/// Whether two inboxes are one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    Yes,
    No,
    /// Another login at the same server may see another folder under the same path.
    Perhaps,
}

fn compare(a: &Place, b: &Place) -> Same {
    match (a.server == b.server && a.path == b.path, a.user == b.user) {
        (false, _) => Same::No,
        (true, true) => Same::Yes,
        (true, false) => Same::Perhaps,
    }
}

/// What is known so far of where inboxes are.
#[derive(Default)]
pub struct Places {
    known: Mutex<BTreeMap<Inbox, Place>>,
    conflict: Mutex<Option<SameFolder>>,
}

impl Places {
    /// Notes where an inbox is. The answer is the other inbox that is the same folder, if there is one; the one noted first stays.
    ///
    /// `link_of` gives the connection of another source: the same path seen by two logins is told apart by a file of ours.
    pub fn note<'l>(
        &self,
        inbox: &Inbox,
        place: Place,
        link: &Link,
        link_of: &dyn Fn(&str) -> Option<&'l Link>,
    ) -> Result<(), Box<SameFolder>> {
        let others: Vec<(Inbox, Place)> = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let others = known.iter().filter(|(other, _)| *other != inbox).map(|(inbox, place)| (inbox.clone(), place.clone())).collect();
            // Noted at once, so that of two lookouts that come at the same time one sees the other.
            known.insert(inbox.clone(), place.clone());
            others
        };
        for (other, its_place) in others {
            let same = match compare(&place, &its_place) {
                Same::Perhaps => link_of(&other.0).is_some_and(|others_link| sees_the_same(inbox, link, &other, others_link)),
                same => same == Same::Yes,
            };
            if same {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(inbox);
                let conflict = SameFolder { earlier: other, later: inbox.clone(), path: place.path };
                *self.conflict.lock().unwrap_or_else(PoisonError::into_inner) = Some(conflict.clone());
                return Err(Box::new(conflict));
            }
        }
        Ok(())
    }

    /// Two inboxes that were found to be one folder.
    pub fn conflict(&self) -> Option<SameFolder> {
        self.conflict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it been noted?
    pub fn knows(&self, inbox: &Inbox) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(inbox)
    }
}

/// Makes a file through one connection and looks for it through the other. False when that cannot be done.
fn sees_the_same(inbox: &Inbox, link: &Link, other: &Inbox, others_link: &Link) -> bool {
    let name = format!(".passferry-probe-{}", rand::random::<u32>());
    let at = |folder: &BStr| join(folder, name.as_str().into());
    let (here, there) = (at(inbox.1.as_bstr()), at(other.1.as_bstr()));
    if let Err(error) = link.with(|source| source.create(here.as_bstr(), &mut &b"probe"[..], 0o600)) {
        warn!(
            source = inbox.0,
            "its inbox {:?} may be the same folder as inbox {:?} of source {}, which another login sees under the same path; \
             this cannot be tried out, since no file can be made there: {error}",
            inbox.1,
            other.1,
            other.0
        );
        return false;
    }
    let seen = others_link.with(|source| source.stat(there.as_bstr()));
    if let Err(error) = link.with(|source: &mut dyn Source| source.remove(here.as_bstr())) {
        warn!(source = inbox.0, "the probe {here:?} stays: {error}");
    }
    matches!(seen, Ok(Some(_)))
}

/// An inbox that is not there yet, or whose server does not say, is looked at again next time.
pub fn place_of(link: &Link, inbox: &BStr) -> Result<Option<Place>, SourceError> {
    match link.with(|source| source.place(inbox)) {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.breaks_connection() => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_server_and_its_real_path() {
        let place = |server: &str, user: &str, path: &str| Place { server: server.into(), user: user.into(), path: path.into() };
        let one = place("SHA256:a", "acme", "/in");
        assert_eq!(compare(&one, &one), Same::Yes);
        assert_eq!(compare(&one, &place("SHA256:a", "acme", "/other")), Same::No);
        assert_eq!(compare(&one, &place("SHA256:b", "acme", "/in")), Same::No);
        // Each login may have a root of its own.
        assert_eq!(compare(&one, &place("SHA256:a", "other", "/in")), Same::Perhaps);
    }
}
