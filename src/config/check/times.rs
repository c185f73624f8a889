//! What local times in cells mean.

use super::{Check, Key};
use crate::config::written::{self, RepeatedTime, SkippedTime};
use crate::zone::{Gap, LocalTimes, Overlap};

impl Check<'_> {
    pub(super) fn local_times(&mut self, key: &Key, feed: &written::Feed) -> LocalTimes {
        let none = written::DaylightSaving::default();
        let written::DaylightSaving { gap, overlap } = feed.daylight_saving.as_ref().map_or(&none, |rule| &rule.0);
        LocalTimes {
            zone: self.timezone(&key.child("timezone"), feed.timezone.as_ref()),
            gap: match gap {
                None | Some(SkippedTime::Error) => Gap::Error,
                Some(SkippedTime::Before) => Gap::Before,
                Some(SkippedTime::After) => Gap::After,
            },
            overlap: match overlap {
                None | Some(RepeatedTime::Error) => Overlap::Error,
                Some(RepeatedTime::Earlier) => Overlap::Earlier,
                Some(RepeatedTime::Later) => Overlap::Later,
            },
        }
    }
}
