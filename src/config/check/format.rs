//! What a feed says of its files' form, and what it may then leave out.

use std::path::PathBuf;

use super::mapping::Columns;
use super::{Check, Key};
use crate::config::meant::{CrewFile, FieldMapping, Format, OperationChoice, PassColumn, Platform, PlatformKind, SectionChoice, VibesFile};
use crate::config::value::{choices, quoted};
use crate::config::written::{self, EmptyCell, FormatKind, OtherColumns, TextOr};
use crate::row::Verb;
use crate::schema::Empty;

impl Check<'_> {
    pub(super) fn format(&mut self, key: &Key, feed: &written::Feed) -> Option<Format> {
        let here = key.child("format");
        let bare;
        let table = match feed.format.as_ref()? {
            TextOr::Table(table) => table,
            TextOr::Text(word) => {
                let kind = match word.as_str() {
                    "thewalletcrew" => FormatKind::TheWalletCrew,
                    "vibes" => FormatKind::Vibes,
                    _ => {
                        self.fault(&here, format!("{} is not a format; write {}", quoted(word), choices(&["thewalletcrew", "vibes"])));
                        return None;
                    }
                };
                bare = written::Format { kind: Some(kind), ..written::Format::default() };
                &bare
            }
        };
        let kind = self.required(&here.child("kind"), table.kind.as_ref(), "kind = \"thewalletcrew\" or kind = \"vibes\"")?;
        let foreign = match kind {
            FormatKind::TheWalletCrew => vec![("campaigns", !table.campaigns.is_empty())],
            FormatKind::Vibes => vec![("empty", table.empty.is_some()), ("other_columns", table.other_columns.is_some())],
        };
        for (name, _) in foreign.into_iter().filter(|(_, given)| *given) {
            self.fault(&here.child(name), "is an option of the other format; remove it".into());
        }
        let personal = table.personal.clone();
        Some(match kind {
            FormatKind::TheWalletCrew => Format::TheWalletCrew(CrewFile {
                empty: match table.empty {
                    None | Some(EmptyCell::Keep) => Empty::Keep,
                    Some(EmptyCell::Clear) => Empty::Clear,
                    Some(EmptyCell::Reject) => Empty::Reject,
                },
                ignores_others: table.other_columns == Some(OtherColumns::Ignore),
                personal,
            }),
            FormatKind::Vibes => Format::Vibes(VibesFile { campaigns: table.campaigns.clone(), personal }),
        })
    }

    /// The schema as far as it is written down; what a format brings is empty here, and no column is called unknown.
    pub(super) fn schema_or_format(
        &mut self,
        key: &Key,
        feed: &written::Feed,
        format: Option<&Format>,
    ) -> Option<(PathBuf, String, Columns)> {
        match format {
            Some(Format::Vibes(_)) if feed.schema.is_some() => self.schema(key, feed),
            Some(Format::Vibes(_)) => {
                for (name, given) in [("consent", feed.consent.is_some()), ("updated_at", feed.updated_at.is_some())] {
                    if given {
                        self.fault(
                            &key.child(name),
                            "needs a column with a type, and without a schema all are text; write schema = \"PATH\"".into(),
                        );
                    }
                }
                Some((PathBuf::new(), String::new(), None))
            }
            Some(Format::TheWalletCrew(_)) => {
                let by_column = matches!(feed.operation, Some(TextOr::Table(_)));
                let written = [
                    ("schema", feed.schema.is_some()),
                    ("pass", feed.pass.is_some()),
                    ("fields", !feed.fields.is_empty()),
                    ("operation", by_column),
                    ("updated_at", feed.updated_at.is_some()),
                    ("consent", feed.consent.is_some()),
                    ("notify", feed.notify.is_some()),
                    ("add", feed.add.is_some()),
                ];
                for (name, _) in written.into_iter().filter(|(_, written)| *written) {
                    let message = "stands beside format = \"thewalletcrew\", by which the file itself says what its columns are; remove one of the two";
                    self.fault(&key.child(name), message.into());
                }
                Some((PathBuf::new(), String::new(), None))
            }
            None if feed.format.is_some() => None,
            None => self.schema(key, feed),
        }
    }

    /// The column that names the pass: the one written, or the format's.
    pub(super) fn pass_or_format(
        &mut self,
        key: &Key,
        feed: &written::Feed,
        columns: &Columns,
        format: Option<&Format>,
        platform: Option<&Platform>,
    ) -> Option<PassColumn> {
        match format {
            Some(Format::Vibes(_)) if feed.pass.is_none() => Some(PassColumn::ExternalId("uuid".to_owned())),
            Some(Format::TheWalletCrew(_)) => {
                let PlatformKind::TheWalletCrew(crew) = &platform?.kind else {
                    let message = "is \"thewalletcrew\", whose columns are fields of passes there; name a platform of that kind, or write \
                                   schema, pass and fields instead";
                    self.fault(&key.child("format"), message.into());
                    return None;
                };
                Some(
                    crew.identifier
                        .as_ref()
                        .map_or_else(|| PassColumn::PassId("id".to_owned()), |name| PassColumn::ExternalId(format!("id.{name}"))),
                )
            }
            None if feed.format.is_some() && feed.pass.is_none() => None,
            _ => self.pass(key, feed, columns),
        }
    }

    pub(super) fn fields_or_format(
        &mut self,
        key: &Key,
        feed: &written::Feed,
        columns: &Columns,
        format: Option<&Format>,
        platform: Option<&Platform>,
    ) -> Vec<(String, FieldMapping)> {
        if matches!(format, Some(Format::TheWalletCrew(_))) { Vec::new() } else { self.fields(key, feed, columns, platform) }
    }

    /// What a reader is to expect before the first record.
    pub(super) fn header_section(&mut self, key: &Key, feed: &written::Feed, format: Option<&Format>) -> Option<SectionChoice> {
        let header = feed.dialect.as_ref().and_then(|dialect| dialect.header);
        if format.is_some() && header == Some(false) {
            let message = "is false, and the form of these files has names of columns; remove it, or the format";
            self.fault(&key.child("dialect").child("header"), message.into());
        }
        match format {
            Some(Format::Vibes(form)) => Some(SectionChoice { campaigns: form.campaigns.clone() }),
            _ => None,
        }
    }

    /// What a feed of The Wallet Crew needs of its account.
    pub(super) fn crew_fits(&mut self, key: &Key, pass: &PassColumn, operation: &OperationChoice, platform: &Platform) {
        let PlatformKind::TheWalletCrew(crew) = &platform.kind else { return };
        let by_external = matches!(pass, PassColumn::ExternalId(_));
        if by_external && crew.identifier.is_none() {
            let message = format!(
                "goes by an external identifier, and there may be several; write identifier = \"NAME\" in [platform.{}]",
                platform.name
            );
            self.fault(&key.child("pass"), message);
        }
        let verbs: Vec<Verb> = match operation {
            OperationChoice::Always(verb) => vec![*verb],
            OperationChoice::Column { words, .. } => words.values().copied().collect(),
        };
        for verb in verbs.iter().filter(|verb| !matches!(verb, Verb::Update | Verb::Upsert)) {
            self.fault(
                &key.child("operation"),
                format!("is {}, for which The Wallet Crew has no public call; write update or upsert", quoted(verb.as_str())),
            );
        }
        let upserts = verbs.contains(&Verb::Upsert);
        if upserts && !by_external {
            self.fault(
                &key.child("operation"),
                "issues passes, whose id The Wallet Crew chooses; name passes by an external identifier".into(),
            );
        }
        if upserts && crew.pass_type.is_none() {
            let message = format!("issues passes, which need a type; write pass_type = \"NAME\" in [platform.{}]", platform.name);
            self.fault(&key.child("operation"), message);
        }
        if !by_external && crew.confirm {
            let message = format!(
                "names passes by their id, and [platform.{}] reads them back, which goes by an external identifier alone",
                platform.name
            );
            self.fault(&key.child("pass"), message);
        }
    }
}
