//! The style sheet of every page, and the policy that lets a browser use it and nothing else.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// Light and dark, screen and paper. The classes that pages use are explained in it.
pub const CSS: &str = include_str!("style.css");

/// `sha256-…` of [`CSS`], as a Content-Security-Policy names a style sheet inside its page.
pub static CSS_HASH: LazyLock<String> = LazyLock::new(|| format!("sha256-{}", openssl::base64::encode_block(&Sha256::digest(CSS))));

/// The policy of a page that stands alone: nothing is loaded, nothing runs, nothing is sent; only the style sheet inside it holds.
pub fn policy() -> String {
    format!("default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'", *CSS_HASH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_loads_nothing_and_cannot_end_its_element() {
        for forbidden in ["http", "url(", "@import", "</", "expression", "\r"] {
            assert!(!CSS.contains(forbidden), "{forbidden}");
        }
        assert!(CSS.len() < 16 << 10, "{} bytes", CSS.len());
    }

    /// Relative luminance of `#rrggbb`, by WCAG 2.2.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_stands_out_from_what_it_stands_on_in_light_and_dark() {
        let themes: Vec<&str> = CSS.match_indices("--paper:").map(|(at, _)| &CSS[at..at + CSS[at..].find('}').unwrap()]).collect();
        assert!(themes.len() >= 2, "light and dark");
        for theme in themes {
            let colour = |name: &str| {
                let at = theme.find(&format!("--{name}:")).unwrap_or_else(|| panic!("{name}")) + name.len() + 3;
                theme[at..].trim_start()[..7].to_owned()
            };
            for text in ["ink", "quiet", "accent", "good", "warn", "bad", "doubt"] {
                for ground in ["paper", "card", "inset"] {
                    let ratio = contrast(&colour(text), &colour(ground));
                    assert!(ratio >= 4.5, "{text} on {ground}: {ratio:.2}");
                }
            }
            for tone in ["good", "warn", "bad", "doubt", "plain"] {
                let ratio = contrast(&colour("ink"), &colour(&format!("{tone}-soft")));
                assert!(ratio >= 4.5, "ink on {tone}-soft: {ratio:.2}");
                if tone != "plain" {
                    let ratio = contrast(&colour(tone), &colour(&format!("{tone}-soft")));
                    assert!(ratio >= 4.5, "{tone} on {tone}-soft: {ratio:.2}");
                }
            }
            let ratio = contrast(&colour("on-accent"), &colour("accent"));
            assert!(ratio >= 4.5, "on-accent on accent: {ratio:.2}");
        }
    }
}
