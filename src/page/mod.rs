//! What every page for people shares: the style sheet, charts, and numbers, times and strangers' words as people read them.
//!
//! Used by `STEM.report.html` and by the review page. Nothing here runs in a browser: a page is HTML and one style sheet, and every value
//! is escaped by askama. What is made here and is HTML already says so by [`askama::filters::HtmlSafe`].

pub mod chart;
pub mod style;
pub mod words;
