//! Slack's incoming webhooks, and what understands the same.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Fault;
use super::post::Post;
use crate::alert::message::Message;
use crate::config::meant::alert::Address;
use crate::stop::Stop;

/// Letters of a header block, and of a section's text, below Slack's 150 and 3000 (<https://docs.slack.dev/reference/block-kit/blocks>).
const HEADER: usize = 148;
const SECTION: usize = 2900;
/// Sections, below its 50 blocks.
const SECTIONS: usize = 20;

pub fn send(post: &Post, url: &Address, prefix: &str, message: &Message, stop: &Stop) -> Result<(), Fault> {
    post.send(url, HeaderMap::new(), body(prefix, message).to_string(), stop)
}

fn body(prefix: &str, message: &Message) -> Value {
    let title = format!("{prefix}: {}", message.title);
    // A header is no markup: nothing in it is a mention.
    let mut blocks = vec![json!({ "type": "header", "text": { "type": "plain_text", "text": cut(&title, HEADER), "emoji": false } })];
    let text = escape(&message.text());
    for part in text.split("\n\n").map(str::trim_end).filter(|part| !part.is_empty()).take(SECTIONS) {
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(part, SECTION), "verbatim": true } }));
    }
    json!({ "text": escape(&title), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

/// What Slack takes for mentions and links.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters { text.to_owned() } else { text.chars().take(letters - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::message::{Event, Topic};
    use crate::config::meant::alert::Tell;

    #[test]
    fn nothing_from_outside_is_a_mention_and_nothing_is_too_long() {
        let mut message = Message::new(Topic::Told(Tell::Held), Event::Raised, "<!channel> & co.csv is held");
        message.say("Lines", (0..100).map(|n| format!("{n} {}", "<@U1>".repeat(60))));
        let body = body("passferry", &message);
        assert_eq!(body["text"], "passferry: &lt;!channel&gt; &amp; co.csv is held");
        for block in body["blocks"].as_array().unwrap() {
            let text = block["text"]["text"].as_str().unwrap();
            assert!(text.chars().count() <= 3000);
            assert!(block["type"] == "header" || !text.contains('<'), "{text}");
        }
    }
}
