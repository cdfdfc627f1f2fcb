//! As much of the DevTools protocol as the tests need: open a page, ask it, wait in it, press keys.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::kit::{Dir, patiently};

/// A cold browser on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// A browser with one page. Ends when dropped.
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    next_id: u64,
    /// What the page complained about: exceptions, failed loads, policy violations.
    pub complaints: Vec<String>,
    _browser: Child,
    _profile: Dir,
}

/// None where there is no Chromium, which a CI run does not forgive.
pub async fn page() -> Option<Page> {
    let Some(program) = chromium() else {
        assert!(std::env::var_os("CI").is_none(), "CI needs Chromium: apt-get install -y chromium");
        eprintln!("SKIPPED: no Chromium in PATH (apt-get install -y chromium)");
        return None;
    };
    Some(Page::open(program).await)
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name))).find(|p| p.is_file())
}

impl Page {
    async fn open(program: PathBuf) -> Self {
        let profile = Dir::new("chromium");
        let mut browser = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--no-proxy-server", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Chromium is there");
        let mut said = BufReader::new(browser.stderr.take().expect("piped")).lines();
        let address = async {
            while let Ok(Some(line)) = said.next_line().await {
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
            }
            panic!("Chromium ended at its start");
        };
        let address = tokio::time::timeout(STARTED_WITHIN, address).await.expect("Chromium starts");
        // Read on, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let (socket, _) = connect_async(&address).await.expect("DevTools are listening");
        let mut page = Self {
            socket,
            session: String::new(),
            next_id: 0,
            complaints: Vec::new(),
            _browser: browser,
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await;
        }
        page
    }

    pub async fn goto(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url})).await;
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.until("document.readyState === 'complete'").await;
    }

    /// The value of a JavaScript expression; a promise is awaited.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", ask).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    pub async fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.textContent ?? '(none)'")).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Waits in the page until `condition` holds: looks again whenever the page changes.
    pub async fn until(&mut self, condition: &str) {
        let wait = format!(
            "new Promise((done) => {{
                const look = () => {{ try {{ if ({condition}) {{ observer.disconnect(); done(true); }} }} catch {{}} }};
                const observer = new MutationObserver(look);
                observer.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
                document.addEventListener('readystatechange', look);
                look();
            }})"
        );
        let ask = json!({"expression": wait, "awaitPromise": true, "returnByValue": true});
        loop {
            let answer = self.ask("Runtime.evaluate", ask.clone()).await;
            // The page that was waited in went to another: wait there.
            if answer["error"]["message"].as_str().is_some_and(|m| m.contains("navigated")) {
                continue;
            }
            assert!(
                answer["result"]["exceptionDetails"].is_null() && answer["error"].is_null(),
                "{condition}: {answer}"
            );
            return;
        }
    }

    /// A size in CSS pixels, as a phone or as a desktop.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// A media feature such as `prefers-color-scheme`.
    pub async fn prefer(&mut self, feature: &str, value: &str) {
        let media = json!({"features": [{"name": feature, "value": value}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Keys that write a character, or one by its name.
    pub async fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            one if one.chars().count() == 1 => one,
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "text": if kind == "keyDown" { text } else { "" }});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let mut command = json!({"id": id, "method": method, "params": params.clone()});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(command.to_string())).await.expect("Chromium listens");
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("Chromium lives").expect("Chromium speaks");
                let Ok(text) = message.into_text() else { continue };
                let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
                if value["id"] == id {
                    return value;
                }
                match value["method"].as_str() {
                    Some("Runtime.exceptionThrown") => self.complaints.push(value["params"].to_string()),
                    Some("Log.entryAdded") if value["params"]["entry"]["level"] == "error" => {
                        self.complaints.push(value["params"]["entry"].to_string());
                    }
                    _ => {}
                }
            }
        };
        patiently(&format!("{method} {}", params.to_string().chars().take(400).collect::<String>()), answer).await
    }
}
