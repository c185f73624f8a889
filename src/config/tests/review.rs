//! The review page.

use super::*;

fn with(review: &str) -> Result<meant::Config, Faults> {
    load_text(&format!("{SAMPLE}\n{review}"), &Path::new(env!("CARGO_MANIFEST_DIR")).join("samples"))
}

#[track_caller]
fn fault(review: &str) -> String {
    with(review).err().map_or_else(|| panic!("{review} is accepted"), |faults| faults.to_string())
}

#[test]
fn the_page_is_on_this_machine_unless_a_proxy_ends_tls() {
    let review = |text: &str| with(text).unwrap_or_else(|faults| panic!("{faults}")).review.unwrap();
    let plain = review("[review]\nusers = \"users.toml\"");
    assert_eq!((plain.listen.to_string().as_str(), plain.behind_proxy), ("127.0.0.1:7979", false));
    assert!(with("").unwrap().review.is_none());
    for open in ["0.0.0.0:7979", "192.168.1.5:80", "[::]:7979"] {
        let said = fault(&format!("[review]\nusers = \"u\"\nlisten = \"{open}\""));
        assert!(said.contains("review.listen") && said.contains("behind_proxy"), "{said}");
        review(&format!("[review]\nusers = \"u\"\nlisten = \"{open}\"\nbehind_proxy = true"));
    }
    review("[review]\nusers = \"u\"\nlisten = \"[::1]:0\"");
}

#[test]
fn what_would_let_nobody_or_everybody_in_is_refused() {
    for (text, says) in [
        ("[review]", "lets nobody in"),
        ("[review]\nusers = \"u\"\nlisten = \"localhost\"", "no address with a port"),
        ("[review]\nusers = \"u\"\nhosts = [\"https://a.example\"]", "without scheme"),
        ("[review]\nusers = \"u\"\nidle = \"13h\"", "longer than session"),
        ("[review]\n[review.proxy]\nheader = \"X-User\"", "from"),
        ("[review]\n[review.proxy]\nfrom = []\nheader = \"X-User\"", "names no address"),
        ("[review]\n[review.proxy]\nfrom = [\"proxy\"]\nheader = \"X-User\"", "no address"),
        ("[review]\n[review.proxy]\nfrom = [\"127.0.0.1\"]\nheader = \"Cookie\"", "anybody sends"),
        ("[review]\n[review.proxy]\nfrom = [\"127.0.0.1\"]\nheader = \"a b\"", "no name of a header"),
        ("[review]\n[review.proxy]\nfrom = [\"127.0.0.1\"]\nheader = \"X-U\"\ngroups = \"x-u\"", "the header with the name"),
    ] {
        let said = fault(text);
        assert!(said.contains(says), "{text}: {said}");
    }
}
