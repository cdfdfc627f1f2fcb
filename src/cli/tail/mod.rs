//! `rowcast tail`: reads channels of a running server over server-sent events, and resumes by itself.
//!
//! ```text
//! connect ──stream──▶ blocks ──▶ print ──(lost)──▶ wait, jittered ──▶ connect with Last-Event-ID
//!    └─ at the first time: fail                        └─ refused (4xx): fail
//! ```

mod backoff;
mod show;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use reqwest::header::ACCEPT;
use reqwest::{Client, Response, StatusCode, Url};

use super::Failure;
use super::globals::runtime;
use super::out::{Out, note};
use crate::client::sse::{BlockError, Blocks};

use backoff::Backoff;
use show::Show;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Servers beat far more often; a connection that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Print the events of channels as they happen
#[derive(Debug, Args)]
#[command(after_help = "On a terminal a line for each event; in a pipe the frames as JSON lines, `reset` ones \
    included: rowcast tail orders:1 | jq .data")]
pub struct Tail {
    /// Such as orders:42; several come over one stream
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// A running server
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = server_url)]
    url: Url,
    /// Who asks: an access token or an API key
    #[arg(long, env = "ROWCAST_TOKEN", hide_env_values = true, value_parser = one_word)]
    token: Option<String>,
    /// Go on after this cursor, as an event or a snapshot gave it
    #[arg(long)]
    cursor: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print the content at the beginning, too
    #[arg(long)]
    snapshot: bool,
}

impl Tail {
    pub fn run(self, out: &mut Out) -> Result<(), Failure> {
        runtime()?.block_on(self.follow(out))
    }

    async fn follow(self, out: &mut Out) -> Result<(), Failure> {
        let client = http_client()?;
        let url = self.stream_url();
        let mut cursor = self.cursor.clone();
        let mut show = Show::new(self.snapshot, self.count);
        let mut backoff = Backoff::new();
        let mut first = true;
        loop {
            match open(&client, &url, self.token.as_deref(), cursor.as_deref()).await {
                Ok(response) => {
                    if !first {
                        note("connected again");
                    } else if std::io::stderr().is_terminal() {
                        note(&format!("listening to {} at {}", self.channels.join(", "), self.url));
                    }
                    first = false;
                    let why = read(response, &mut cursor, &mut show, &mut backoff, out).await?;
                    if show.done() {
                        return Ok(());
                    }
                    note(&format!("connection lost: {why}"));
                }
                Err(Refusal::ForGood(failure)) => return Err(failure),
                Err(Refusal::ForNow(failure)) if first => return Err(failure),
                Err(Refusal::ForNow(_)) => {}
            }
            let wait = backoff.next();
            note(&format!("connecting again in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
        }
    }

    fn stream_url(&self) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/sse", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut().extend_pairs(self.channels.iter().map(|c| ("channel", c)));
        url
    }
}

/// A client for our own server: no proxy of the environment stands between.
pub fn http_client() -> Result<Client, Failure> {
    client(false)
}

/// On this machine a certificate for another name proves as much as any.
pub fn local_http_client() -> Result<Client, Failure> {
    client(true)
}

fn client(local: bool) -> Result<Client, Failure> {
    crate::app::install_tls();
    Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .tls_danger_accept_invalid_certs(local)
        .build()
        .map_err(|e| Failure::new(format!("cannot make an HTTP client: {e}")))
}

enum Refusal {
    /// Asking again will not help.
    ForGood(Failure),
    ForNow(Failure),
}

async fn open(client: &Client, url: &Url, token: Option<&str>, cursor: Option<&str>) -> Result<Response, Refusal> {
    let server = url.origin().ascii_serialization();
    let mut request = client.get(url.clone()).header(ACCEPT, "text/event-stream");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(cursor) = cursor {
        request = request.header("last-event-id", cursor);
    }
    let answer = tokio::time::timeout(CONNECT_WITHIN, request.send()).await;
    let response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(e)) if e.is_builder() => return Err(Refusal::ForGood(Failure::usage("this is not a cursor"))),
        Ok(Err(_)) | Err(_) => {
            let failure = Failure::new(format!("no rowcast answers at {server}"));
            return Err(Refusal::ForNow(
                failure.hint("Start one with `rowcast serve` or `rowcast demo`, or name it with --url."),
            ));
        }
    };
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let said = response.text().await.unwrap_or_default();
    let failure = Failure::new(format!("{server} answers {status}{}", reason(&said)));
    Err(match status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        true => Refusal::ForGood(failure),
        false => Refusal::ForNow(failure),
    })
}

/// The sentence in the answer of a refusal: our own are problems with a detail.
fn reason(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    match json.as_ref().and_then(|v| v["detail"].as_str()).unwrap_or(body).lines().next() {
        Some(line) if !line.is_empty() => format!(": {}", line.chars().take(200).collect::<String>()),
        _ => String::new(),
    }
}

/// Prints until the stream ends or all was shown; says why it ended.
async fn read(
    response: Response,
    cursor: &mut Option<String>,
    show: &mut Show,
    backoff: &mut Backoff,
    out: &mut Out,
) -> Result<String, Failure> {
    let mut blocks = Blocks::new(response);
    let mut live = false;
    loop {
        let block = match tokio::time::timeout(SILENCE_MAX, blocks.next()).await {
            Ok(Ok(Some(block))) => block,
            Ok(Ok(None)) => return Ok("the server ended it".into()),
            Ok(Err(BlockError::Lost(why))) => return Ok(why),
            Ok(Err(e @ BlockError::TooLarge)) => return Err(Failure::new(e.to_string())),
            Err(_) => return Ok("no sign of life".into()),
        };
        if let Some(data) = &block.data
            && let Some(complaint) = show.frame(data, out)?
        {
            // Before the first id, an error is why the server ends the stream.
            if !live && !complaint.passing {
                return Err(Failure::new(complaint.text));
            }
            note(&complaint.text);
        }
        // After printing: killed in between, the event comes again rather than never.
        if let Some(id) = block.id {
            live = true;
            backoff.reset();
            *cursor = Some(id);
        }
        if show.done() {
            return Ok(String::new());
        }
    }
}

/// What may stand in a header. The text itself is a secret, and is not said.
fn one_word(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("a token is one word, of ASCII".into()),
    }
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("must begin with http:// or https://".into()),
    }
}
