//! A real browser: headless Chromium, driven over its `DevTools` protocol (JSON over a WebSocket).
//!
//! It has a profile of its own and reaches loopback only. What it complains of fails the test, and so does a dialog: that would be a
//! script which no page of ours has.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use super::harbour::{PATIENCE, wait_until};
use super::npm;

/// The newest when this was written.
const AXE: &str = "4.14.1";

/// Where pictures of pages go: CI keeps them, people look at them.
pub fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots")
}

/// Light or dark.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Light,
    Dark,
}

/// A screen, in CSS pixels.
pub const DESK: (u32, u32) = (1280, 900);
pub const PHONE: (u32, u32) = (390, 844);

pub struct Browser {
    child: Child,
    port: u16,
    control: Wire,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut chromium = Command::new("chromium");
        chromium
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"])
            .args(["--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--force-color-profile=srgb"])
            .args(["--disable-extensions", "--disable-breakpad", "--remote-debugging-port=0", "--lang=en"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = chromium.spawn().expect("chromium is needed: install the package chromium");
        let told = profile.path().join("DevToolsActivePort");
        let mut place = None;
        wait_until("chromium listens", || {
            let text = fs::read_to_string(&told).unwrap_or_default();
            place = text.split_once('\n').and_then(|(port, path)| Some((port.parse::<u16>().ok()?, path.trim().to_owned())));
            place.is_some()
        });
        let (port, path) = place.unwrap();
        Browser { child, port, control: Wire::connect(port, &path), _profile: profile }
    }

    /// A page that shares no cookies with others.
    pub fn tab(&mut self) -> Tab {
        let context = self.control.ask("Target.createBrowserContext", &json!({}))["browserContextId"].clone();
        let asked = json!({ "url": "about:blank", "browserContextId": context });
        let target = self.control.ask("Target.createTarget", &asked)["targetId"].as_str().unwrap().to_owned();
        let mut tab = Tab { wire: Wire::connect(self.port, &format!("/devtools/page/{target}")) };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            tab.wire.ask(&format!("{domain}.enable"), &json!({}));
        }
        tab.looks(Scheme::Light, DESK);
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was asked for, and what came.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Addresses, and what made the browser ask: `parser` where the HTML names it.
    pub requests: Vec<(String, String)>,
    /// Bytes as they came over the network.
    pub bytes: u64,
}

/// One connection to the browser, or to a page of it.
struct Wire {
    socket: WebSocket<TcpStream>,
    asked: u64,
    loads: u64,
    loaded: Loaded,
    complaints: Vec<String>,
}

impl Wire {
    fn connect(port: u16, path: &str) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Pictures are large.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tungstenite::client::client_with_config(format!("ws://127.0.0.1:{port}{path}"), stream, Some(config)).unwrap();
        Wire { socket, asked: 0, loads: 0, loaded: Loaded::default(), complaints: Vec::new() }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.socket.send(Message::text(json!({ "id": id, "method": method, "params": params }).to_string())).unwrap();
        loop {
            let mut told = self.read();
            if told["id"] == id {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].take();
            }
        }
    }

    /// The next message; events are noted on the way.
    fn read(&mut self) -> Value {
        loop {
            let Message::Text(text) = self.socket.read().expect("the browser answers") else { continue };
            let told: Value = serde_json::from_str(&text).unwrap();
            let params = &told["params"];
            match told["method"].as_str().unwrap_or_default() {
                "Page.loadEventFired" => self.loads += 1,
                "Network.requestWillBeSent" => {
                    self.loaded.requests.push((words(&params["request"]["url"]), words(&params["initiator"]["type"])));
                }
                "Network.loadingFinished" => self.loaded.bytes += params["encodedDataLength"].as_f64().unwrap_or_default() as u64,
                "Runtime.exceptionThrown" => self.complaints.push(params["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" if params["type"] == "error" => self.complaints.push(params["args"].to_string()),
                "Log.entryAdded" if params["entry"]["level"] == "error" => self.complaints.push(params["entry"].to_string()),
                "Page.javascriptDialogOpening" => {
                    self.complaints.push(format!("a dialog: {}", params["message"]));
                    self.asked += 1;
                    let dismiss = json!({ "id": self.asked, "method": "Page.handleJavaScriptDialog", "params": { "accept": false } });
                    self.socket.send(Message::text(dismiss.to_string())).unwrap();
                }
                _ => {}
            }
            return told;
        }
    }
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A page in the browser.
pub struct Tab {
    wire: Wire,
}

impl Tab {
    /// Goes to an address and waits until all of it is loaded.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let before = self.wire.loads;
        let went = self.wire.ask("Page.navigate", &json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {}", went["errorText"]);
        while self.wire.loads == before {
            self.wire.read();
        }
    }

    pub fn open_file(&mut self, path: &Path) {
        self.open(url::Url::from_file_path(path).unwrap().as_str());
    }

    /// What an expression is, once it is more than a promise.
    #[track_caller]
    pub fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut told = self.wire.ask("Runtime.evaluate", &asked);
        assert!(told["exceptionDetails"].is_null(), "{script}: {}", told["exceptionDetails"]);
        told["result"]["value"].take()
    }

    /// Waits until an expression is true. A page that is about to go answers nothing: then it is asked again.
    #[track_caller]
    pub fn wait(&mut self, condition: &str) {
        let since = Instant::now();
        loop {
            self.wire.asked += 1;
            let id = self.wire.asked;
            let params = json!({ "expression": format!("Boolean({condition})"), "returnByValue": true });
            self.wire.socket.send(Message::text(json!({ "id": id, "method": "Runtime.evaluate", "params": params }).to_string())).unwrap();
            let told = loop {
                let told = self.wire.read();
                if told["id"] == id {
                    break told;
                }
            };
            if told["result"]["result"]["value"] == true {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{condition} does not come true; there is {}", self.text("body"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits for something on the page.
    #[track_caller]
    pub fn wait_for(&mut self, css: &str) {
        self.wait(&format!("document.readyState === 'complete' && document.querySelector({})", json!(css)));
    }

    /// Clicks into the middle of an element, as a person does: what covers it takes the click.
    #[track_caller]
    pub fn click(&mut self, css: &str) {
        self.wait_for(css);
        let place = self.evaluate(&format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{ block: 'center' }}); const box = it.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(css)
        ));
        for what in ["mousePressed", "mouseReleased"] {
            let at = json!({ "type": what, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.wire.ask("Input.dispatchMouseEvent", &at);
        }
    }

    /// Clicks what leads to another page, and waits until that is loaded.
    #[track_caller]
    pub fn follow(&mut self, css: &str) {
        let before = self.wire.loads;
        self.click(css);
        let since = Instant::now();
        while self.wire.loads == before {
            assert!(since.elapsed() < PATIENCE, "{css} leads nowhere");
            self.wire.read();
        }
    }

    /// Replaces what a field holds.
    #[track_caller]
    pub fn type_into(&mut self, css: &str, text: &str) {
        self.wait_for(css);
        self.evaluate(&format!(
            "(() => {{ const it = document.querySelector({}); it.focus(); if (it.select) it.select(); }})()",
            json!(css)
        ));
        self.wire.ask("Input.insertText", &json!({ "text": text }));
    }

    /// Types where the focus is.
    pub fn write(&mut self, text: &str) {
        self.wire.ask("Input.insertText", &json!({ "text": text }));
    }

    /// Goes on by `Tab` until the focus is there. Wherever it comes by, it is seen.
    #[track_caller]
    pub fn tab_to(&mut self, css: &str) {
        for _ in 0..60 {
            let at = self.evaluate(&format!(
                "(() => {{ const it = document.activeElement; if (!it || it === document.body) return ['', true, false]; \
                 const style = getComputedStyle(it); const box = it.getBoundingClientRect(); \
                 const seen = it.matches(':focus-visible') && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 && box.width > 0; \
                 return [it.outerHTML.slice(0, 200), seen, it.matches({})]; }})()",
                json!(css)
            ));
            assert_eq!(at[1], true, "the focus is not seen on {}", at[0]);
            if at[2] == true {
                return;
            }
            self.press("Tab");
        }
        panic!("Tab does not come to {css}");
    }

    /// Presses `Enter` on what leads to another page, and waits until that is loaded.
    #[track_caller]
    pub fn enter(&mut self) {
        let before = self.wire.loads;
        self.press("Enter");
        let since = Instant::now();
        while self.wire.loads == before {
            assert!(since.elapsed() < PATIENCE, "Enter leads nowhere");
            self.wire.read();
        }
    }

    /// Presses a key by its name: `Tab`, `Enter`, `Escape`, `ArrowDown`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowDown" => 40,
            other => panic!("the code of {other} is not known here"),
        };
        let letter = if key == "Enter" { "\r" } else { "" };
        for what in ["keyDown", "keyUp"] {
            let pressed = json!({ "type": what, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": letter });
            self.wire.ask("Input.dispatchKeyEvent", &pressed);
        }
    }

    /// What a person reads in an element.
    #[track_caller]
    pub fn text(&mut self, css: &str) -> String {
        let text = self.evaluate(&format!("document.querySelector({})?.innerText ?? null", json!(css)));
        assert!(!text.is_null(), "there is no {css}");
        words(&text)
    }

    /// What was asked for so far, in order.
    pub fn requests(&mut self) -> Vec<String> {
        self.loaded().requests.into_iter().map(|(url, _)| url).collect()
    }

    pub fn loaded(&mut self) -> Loaded {
        self.evaluate("0");
        self.wire.loaded.clone()
    }

    /// Takes what the browser complained of: for a test that makes it complain.
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("0");
        std::mem::take(&mut self.wire.complaints)
    }

    /// Light or dark, and the size of the screen.
    pub fn looks(&mut self, scheme: Scheme, (width, height): (u32, u32)) {
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features =
            json!([{ "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.wire.ask("Emulation.setEmulatedMedia", &json!({ "features": features }));
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600 });
        self.wire.ask("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// A picture of the whole page, from its top to its end, as `NAME.png` among the screenshots.
    pub fn picture(&mut self, name: &str) {
        let size = self.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]");
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let shot = self.wire.ask("Page.captureScreenshot", &json!({ "format": "png", "clip": clip, "captureBeyondViewport": true }));
        fs::create_dir_all(screenshots()).unwrap();
        let png = openssl::base64::decode_block(shot["data"].as_str().unwrap()).unwrap();
        fs::write(screenshots().join(format!("{name}.png")), png).unwrap();
    }

    /// Pictures in light and dark, on a desk and on a phone: `NAME-light.png`, `NAME-phone-dark.png`…
    pub fn pictures(&mut self, name: &str) {
        for (screen, size) in [("", DESK), ("-phone", PHONE)] {
            for (scheme, word) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
                self.looks(scheme, size);
                self.picture(&format!("{name}{screen}-{word}"));
            }
        }
        self.looks(Scheme::Light, DESK);
    }

    /// The page on paper.
    pub fn pdf(&mut self) -> Vec<u8> {
        let printed = self.wire.ask("Page.printToPDF", &json!({ "printBackground": false, "preferCSSPageSize": true }));
        openssl::base64::decode_block(printed["data"].as_str().unwrap()).unwrap()
    }

    /// Nothing goes beyond the width of the screen: what is wide moves within its own place.
    #[track_caller]
    pub fn fits(&mut self) {
        let widths = self.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]");
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "the page is {} wide on a screen of {}", widths[0], widths[1]);
    }

    /// axe-core finds nothing serious, in light and dark.
    #[track_caller]
    pub fn is_accessible(&mut self) {
        let axe = npm::installed("axe-core", AXE).join("node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(axe).unwrap();
        for scheme in [Scheme::Light, Scheme::Dark] {
            self.looks(scheme, DESK);
            self.evaluate(&format!("{axe}; 0"));
            let found = self.evaluate(
                "axe.run(document, { resultTypes: ['violations'] }).then(told => told.violations.map(one => \
                 ({ id: one.id, impact: one.impact, help: one.help, nodes: one.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary) })))",
            );
            let serious: Vec<&Value> =
                found.as_array().unwrap().iter().filter(|one| one["impact"] == "serious" || one["impact"] == "critical").collect();
            assert!(serious.is_empty(), "{scheme:?}: {}", serde_json::to_string_pretty(&serious).unwrap());
        }
        self.looks(Scheme::Light, DESK);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let complaints = self.complaints();
            assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = r##"<!doctype html><html lang="en"><meta charset="utf-8"><title>Form</title><main><h1>Form</h1><form action="next.html"><label>Name
        <input id="name" name="name" value="old"></label><button>Go</button></form><p id="said">-</p><a href="next.html">next</a></main>
        <script>document.querySelector("#name").addEventListener("input", it => document.querySelector("#said").textContent = it.target.value);</script>"##;

    /// Two pages in a folder, opened in a browser.
    fn opened(form: &str) -> (TempDir, Browser, Tab) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("form.html"), form).unwrap();
        fs::write(folder.path().join("next.html"), "<!doctype html><html lang=en><title>Next</title><main><h1>Next</h1></main>").unwrap();
        let mut browser = Browser::start();
        let mut tab = browser.tab();
        tab.open_file(&folder.path().join("form.html"));
        (folder, browser, tab)
    }

    #[test]
    fn a_person_types_clicks_and_goes_on() {
        let (folder, _browser, mut tab) = opened(FORM);
        tab.type_into("#name", "né <b>");
        tab.wait("document.querySelector('#said').textContent === 'né <b>'");
        tab.press("Tab");
        assert_eq!(tab.evaluate("document.activeElement.tagName"), "BUTTON");
        tab.press("Enter");
        tab.wait("document.title === 'Next' && document.readyState === 'complete'");
        assert!(tab.requests().last().unwrap().ends_with("next.html?name=n%C3%A9+%3Cb%3E"), "{:?}", tab.requests());
        tab.open_file(&folder.path().join("form.html"));
        tab.follow("a");
        assert_eq!(tab.text("h1"), "Next");
        tab.is_accessible();
    }

    #[test]
    fn what_a_page_should_not_do_is_noticed() {
        let (_folder, _browser, mut tab) =
            opened("<!doctype html><title>Bad</title><script>alert(1)</script><p style='color:#ccc'>pale</p><img src=x><input>");
        tab.evaluate("console.error('complaint'); setTimeout(() => nowhere(), 0)");
        tab.evaluate("fetch('http://192.0.2.1:9/').catch(() => 0)");
        let complaints = tab.complaints().join("\n");
        for word in ["a dialog: \"1\"", "complaint", "nowhere is not defined"] {
            assert!(complaints.contains(word), "{word}: {complaints}");
        }
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tab.is_accessible()));
        let words = *found.unwrap_err().downcast::<String>().unwrap();
        assert!(words.contains("color-contrast") && words.contains("image-alt") && words.contains("label"), "{words}");
        tab.complaints();
    }
}
