//! What single values say: durations, shares, sizes, allowances, and the words of messages about them.

use std::time::Duration;

/// Could what stands here, against the rules, be a secret? Rather once too often.
pub(super) fn sounds_secret(text: &str) -> bool {
    ["key", "secret", "pass", "token", "pw"].iter().any(|word| text.to_ascii_lowercase().contains(word))
}

/// Could it be the name of an environment variable, and not the secret itself?
pub(super) fn is_env_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// In double quotes, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""))
}

/// `"a", "b" or "c"`.
pub(super) fn choices(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// The known word a wrong one was probably meant to be.
pub(super) fn near<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (strsim::jaro_winkler(&wrong.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// What to write instead of a wrong name: the nearest, or all.
pub(super) fn instead(wrong: &str, known: &[&str]) -> String {
    match near(wrong, known.iter().copied()) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None if known.is_empty() => "there are none".into(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// `"30s"`, `"1m 30s"`, `"30d"`; at least `min`.
pub(super) fn duration(text: &str, min: Duration) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text.trim())
        .map_err(|_| format!("{} is not a duration; write a number and a unit, such as \"30s\", \"5m\" or \"2h\"", quoted(text)))?;
    if parsed < min {
        return Err(format!("{} is too short; write at least \"{}\"", quoted(text), humantime::format_duration(min)));
    }
    Ok(parsed)
}

fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('%')?.trim_end().parse().ok()?;
    (number.is_finite() && number >= 0.0 && !text.contains(['e', 'E'])).then_some(number / 100.0)
}

/// `"5%"` as a fraction of 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match percent(text) {
        Some(share) if share <= 1.0 => Ok(share),
        Some(_) => Err(format!("{} is more than everything; write at most \"100%\", or false to switch the guard off", quoted(text))),
        None if text.trim().parse::<f64>().is_ok() => {
            Err(format!("{} is not a share; write {}", quoted(text), quoted(&format!("{}%", text.trim()))))
        }
        None => Err(format!("{} is not a share; write a percentage such as \"5%\"", quoted(text))),
    }
}

/// `"50%..200%"` as fractions of the usual number.
pub(super) fn rows(text: &str) -> Result<(f64, f64), String> {
    let range = text.split_once("..").and_then(|(least, most)| Some((percent(least)?, percent(most)?)));
    match range {
        Some((least, most)) if least < most => Ok((least, most)),
        Some(_) => Err(format!("{} has its least above its most; write the smaller share first", quoted(text))),
        None => Err(format!("{} is not a range; write the least and the most, such as \"50%..200%\"", quoted(text))),
    }
}

/// `"20/s"`, `"600/m"` or `"36000/h"`, as requests a second.
pub(super) fn allowance(text: &str) -> Result<f64, String> {
    let parsed = text.split_once('/').and_then(|(count, unit)| {
        let count: f64 = count.trim().parse().ok()?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        (count.is_finite() && count > 0.0).then_some(count / seconds)
    });
    parsed.ok_or_else(|| format!("{} is not an allowance; write requests per time, such as \"20/s\" or \"600/m\"", quoted(text)))
}

/// `"4MiB"`, `"16 GiB"`, `"500kB"`, as bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{} is not a size; write bytes as a number, or a text such as \"256KiB\", \"4MiB\" or \"16GiB\"", quoted(text));
    let digits = text.trim().bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.trim().split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    count.parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).ok_or_else(wrong)
}

/// `"0640"` as a file mode its owner can read and write.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let wrong = |why: &str| format!("{} {why}; write four octal digits, such as \"0640\"", quoted(text));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode > 0o777 => Err(wrong("has bits beyond read, write and execute")),
        Ok(mode) if mode & 0o600 != 0o600 => Err(wrong("leaves the report unreadable for its own writer")),
        Ok(mode) => Ok(mode),
        Err(_) => Err(wrong("is not a file mode")),
    }
}

/// A folder at a source: without empty and `.` parts, `.` for the login folder itself.
pub(super) fn folder(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err(format!("{} has a control character; write the folder as the server lists it", quoted(text)));
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(format!("{} goes up with \"..\"; write the folder from the login folder, or from \"/\"", quoted(text))),
            _ => parts.push(part),
        }
    }
    let root = if text.starts_with('/') { "/" } else { "" };
    let path = format!("{root}{}", parts.join("/"));
    Ok(if path.is_empty() { ".".into() } else { path })
}

/// A time of day and a zone: `"08:00..21:00 Europe/Paris"`.
pub(super) fn window(text: &str) -> Result<crate::config::meant::Window, String> {
    let wrong = || format!("{} is not a window; write such as \"08:00..21:00 Europe/Paris\"", quoted(text));
    let (times, zone) = text.split_once(' ').ok_or_else(wrong)?;
    let (from, to) = times.split_once("..").ok_or_else(wrong)?;
    let time = |text: &str| chrono::NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| wrong());
    let (from, to) = (time(from)?, time(to)?);
    let zone = zone
        .trim()
        .parse()
        .map_err(|()| format!("{} is not a time zone; write such as \"Europe/Paris\" or \"+05:30\"", quoted(zone.trim())))?;
    if from == to {
        return Err(format!("{} is never open; write two times that differ, or remove it", quoted(text)));
    }
    Ok(crate::config::meant::Window { from, to, zone })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share(" 12.5 % "), Ok(0.125));
        assert_eq!(rows("50%..200%"), Ok((0.5, 2.0)));
        assert_eq!(allowance("600/m"), Ok(10.0));
        assert_eq!(bytes("16GiB"), Ok(16 << 30));
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(mode("0640"), Ok(0o640));
        assert_eq!(duration("1m 30s", Duration::ZERO), Ok(Duration::from_secs(90)));
        assert_eq!(folder("./a//b/").unwrap(), "a/b");
        assert_eq!(folder("").unwrap(), ".");
        assert_eq!(folder("/").unwrap(), "/");
    }

    #[test]
    fn values_that_mean_nothing_are_refused_with_the_cure() {
        assert_eq!(share("5").unwrap_err(), "\"5\" is not a share; write \"5%\"");
        for bad in ["", "%", "-1%", "NaN%", "inf%", "101%", "1e1%"] {
            assert!(share(bad).is_err(), "{bad:?}");
        }
        for bad in ["20", "0/s", "-1/s", "20/d", "inf/s"] {
            assert!(allowance(bad).is_err(), "{bad:?}");
        }
        for bad in ["4 MiBs", "-1", "99999999999TiB", "MiB"] {
            assert!(bytes(bad).is_err(), "{bad:?}");
        }
        for bad in ["640x", "1777", "0440", "-640"] {
            assert!(mode(bad).is_err(), "{bad:?}");
        }
        for bad in ["200%..50%", "50%", "50%-200%"] {
            assert!(rows(bad).is_err(), "{bad:?}");
        }
        assert!(folder("a/../b").is_err() && folder("a\nb").is_err());
        assert!(duration("0s", Duration::from_secs(1)).is_err() && duration("30", Duration::ZERO).is_err());
    }
}
