//! In which order a feed's files run.

use super::mapping::Columns;
use super::{Check, Key};
use crate::config::meant::{FileOrder, Gap, NameStamp};
use crate::config::value::{choices, quoted};
use crate::config::written::{self, TextOr};

impl Check<'_> {
    pub(super) fn order(&mut self, key: &Key, feed: &written::Feed, columns: &Columns) -> Option<FileOrder> {
        if let Some(column) = &feed.updated_at {
            self.column(&key.child("updated_at"), column, columns);
        }
        let here = key.child("order");
        let table = match &feed.order {
            None => return Some(FileOrder::Mtime),
            Some(TextOr::Table(table)) => table,
            Some(TextOr::Text(word)) => match word.as_str() {
                "mtime" => return Some(FileOrder::Mtime),
                "name" => return Some(FileOrder::Name),
                _ => {
                    let known = choices(&["mtime", "name"]);
                    self.fault(&here, format!("{} is not known here; write {known} or {{ stamp = \"REGEX\" }}", quoted(word)));
                    return None;
                }
            },
        };
        let example = "stamp = \"_([0-9]+)[.]csv\", with one group around the number or date";
        let pattern = self.required(&here.child("stamp"), table.stamp.as_ref(), example)?;
        match regex::Regex::new(&pattern) {
            Err(error) => self.fault(&here.child("stamp"), format!("{} is not a regular expression: {error}", quoted(&pattern))),
            Ok(regex) if regex.captures_len() != 2 => {
                self.fault(&here.child("stamp"), format!("{} has {} groups; write {example}", quoted(&pattern), regex.captures_len() - 1));
            }
            Ok(_) => {}
        }
        let gap = match table.gap {
            None | Some(written::Gap::Ignore) => Gap::Ignore,
            Some(written::Gap::Warn) => Gap::Warn,
            Some(written::Gap::Hold) => Gap::Hold,
        };
        if let Some(format) = &table.format {
            let unknown = chrono::format::StrftimeItems::new(format).any(|item| item == chrono::format::Item::Error);
            if unknown || !format.contains('%') {
                self.fault(&here.child("format"), format!("{} is not a form of a date; write such as \"%d%m%Y\"", quoted(format)));
            }
            if gap != Gap::Ignore {
                self.fault(&here.child("gap"), "stands beside format; days are left out without being missing, numbers are not".into());
            }
        }
        Some(FileOrder::Stamp(NameStamp { pattern, format: table.format.clone(), gap }))
    }
}
