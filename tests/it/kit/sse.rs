use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::{http_client, patiently};

/// A reader of `text/event-stream` whose every wait is bounded.
pub struct Client {
    response: reqwest::Response,
    unread: Vec<u8>,
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// What stands between two empty lines. A block with only an `id` moves the cursor; one of comments only is a
/// sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub retry: Option<u64>,
    pub comments: Vec<String>,
}

impl Client {
    pub async fn connect(url: &str, last_event_id: Option<&str>) -> Self {
        let mut request = http_client().get(url).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = patiently("the stream's head", request.send()).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        let (status, headers) = (response.status(), response.headers().clone());
        Self { response, unread: Vec::new(), status, headers }
    }

    /// The next block with data.
    pub async fn next(&mut self) -> Block {
        let found = async {
            loop {
                let block = self.next_block().await.expect("a block before the stream's end");
                if block.data.is_some() {
                    return block;
                }
            }
        };
        patiently("an event of the stream", found).await
    }

    /// Any block; None: the stream ended.
    pub async fn next_block(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|w| w == b"\n\n") {
                let rest = self.unread.split_off(end + 2);
                let block = std::mem::replace(&mut self.unread, rest);
                return Some(Block::parse(std::str::from_utf8(&block[..end]).expect("the stream is UTF-8")));
            }
            let chunk = patiently("bytes of the stream", self.response.chunk()).await;
            self.unread.extend_from_slice(&chunk.ok().flatten()?);
        }
    }

    /// The rest of the answer where it is no stream but an error.
    pub async fn body(self) -> String {
        patiently("the body", self.response.text()).await.expect("a text")
    }
}

impl Block {
    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => block.id = Some(value.into()),
                "event" => block.event = Some(value.into()),
                "retry" => block.retry = value.parse().ok(),
                "data" => match &mut block.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    none => *none = Some(value.into()),
                },
                "" => block.comments.push(value.into()),
                other => panic!("no field of an event stream: {other:?} in {text:?}"),
            }
        }
        block
    }
}
