//! What the warehouse and the marketing tool deliver: the small files of `samples/deliveries/` as they are, and nightly exports of all
//! cards made from the clean one, always the same.

use std::io::Write as _;

use anyhow::Context;
use csv::StringRecord;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A few clean rows, the pattern of the nightly exports.
const CLEAN: &str = include_str!("../../samples/deliveries/loyalty_clean.csv");
pub const EVERY_ROW_FAULT: &str = include_str!("../../samples/deliveries/loyalty_every-row-fault.csv");
pub const UNCLOSED_QUOTE: &str = include_str!("../../samples/deliveries/loyalty_unclosed-quote.csv");
pub const CAMPAIGN: &str = include_str!("../../samples/deliveries/campaign_double-points.csv");

/// Of this many cards one was used on the second day.
const USED: u32 = 25;

/// A nightly export of all cards.
pub struct Export {
    header: StringRecord,
    rows: Vec<StringRecord>,
}

/// What a row says of its card, as far as the demonstration's feed maps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub external_id: String,
    pub points: u32,
    pub tier: String,
    pub balance: String,
}

impl Export {
    /// Every card with a balance of its own.
    pub fn first_day(cards: u32) -> anyhow::Result<Export> {
        let mut reader = csv::Reader::from_reader(CLEAN.as_bytes());
        let header = reader.headers()?.clone();
        let patterns = reader.records().collect::<Result<Vec<_>, _>>()?;
        let mut export = Export { header, rows: Vec::with_capacity(cards as usize) };
        for (number, pattern) in (1..=cards).zip(patterns.iter().cycle()) {
            let mut row = pattern.clone();
            export.put(&mut row, "external_id", &format!("C-{number:06}"))?;
            export.put(&mut row, "email", &format!("member{number}@example.com"))?;
            export.put(&mut row, "points", &(1 + number * 7919 % 20_000).to_string())?;
            export.rows.push(row);
        }
        Ok(export)
    }

    /// The next day: some cards earned 120 points, the others stand as they stood.
    pub fn second_day(&self) -> anyhow::Result<Export> {
        self.with_points(|number, points| if number % USED == 0 { points + 120 } else { points })
    }

    /// An export whose join with the balances failed: every balance reads 0.
    pub fn wiped(&self) -> anyhow::Result<Export> {
        self.with_points(|_, _| 0)
    }

    pub fn used(&self) -> u64 {
        self.rows.len() as u64 / u64::from(USED)
    }

    fn with_points(&self, points: impl Fn(u32, u32) -> u32) -> anyhow::Result<Export> {
        let at = self.place("points")?;
        let mut rows = self.rows.clone();
        for (number, row) in (1..).zip(&mut rows) {
            let before: u32 = row[at].parse().context("a balance that is no number")?;
            self.put(row, "points", &points(number, before).to_string())?;
        }
        Ok(Export { header: self.header.clone(), rows })
    }

    fn place(&self, column: &str) -> anyhow::Result<usize> {
        self.header.iter().position(|label| label == column).with_context(|| format!("the clean sample has no column {column}"))
    }

    fn put(&self, row: &mut StringRecord, column: &str, cell: &str) -> anyhow::Result<()> {
        let place = self.place(column)?;
        *row = row.iter().enumerate().map(|(index, known)| if index == place { cell } else { known }).collect();
        Ok(())
    }

    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.header)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        writer.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))
    }

    pub fn gzip(&self) -> anyhow::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&self.bytes()?)?;
        Ok(gzip.finish()?)
    }

    pub fn members(&self) -> anyhow::Result<Vec<Member>> {
        members(&self.header, self.rows.iter().cloned().map(Ok))
    }
}

/// Reads members back out of any file with the loyalty export's columns. Fails on a balance that is no number.
pub fn members(header: &StringRecord, rows: impl Iterator<Item = csv::Result<StringRecord>>) -> anyhow::Result<Vec<Member>> {
    let place = |column: &str| header.iter().position(|label| label == column).with_context(|| format!("no column {column}"));
    let (id, points, tier) = (place("external_id")?, place("points")?, place("tier")?);
    let balance = place("balance")?;
    rows.map(|row| {
        let row = row?;
        let cell = |place: usize| row.get(place).unwrap_or_default().to_owned();
        Ok(Member {
            external_id: cell(id),
            points: cell(points).parse().with_context(|| format!("points of {}", cell(id)))?,
            tier: cell(tier),
            balance: cell(balance),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_differ_only_where_the_story_says_so() {
        let first = Export::first_day(1000).unwrap();
        let (before, after) = (first.members().unwrap(), first.second_day().unwrap().members().unwrap());
        let differ = before.iter().zip(&after).filter(|(before, after)| before != after).count() as u64;
        assert_eq!(differ, first.used());
        assert!(before.iter().all(|member| member.points > 0), "a balance of nothing on the first day would be a wiped one");
        assert!(first.wiped().unwrap().members().unwrap().iter().all(|member| member.points == 0));
    }

    #[test]
    fn an_export_is_always_the_same() {
        assert_eq!(Export::first_day(300).unwrap().bytes().unwrap(), Export::first_day(300).unwrap().bytes().unwrap());
    }
}
