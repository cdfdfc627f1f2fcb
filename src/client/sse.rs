//! Server-sent events (WHATWG HTML, 9.2), as far as a client of ours needs them: `data` and `id`.

use reqwest::Response;

/// Far above what a server sends: a state's content is bounded there.
const BLOCK_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    #[error("{0}")]
    Lost(String),
    #[error("the server sends an event of more than {} MiB", BLOCK_BYTES_MAX >> 20)]
    TooLarge,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub id: Option<String>,
    pub data: Option<String>,
}

/// The blocks of a response, heartbeats included.
pub struct Blocks {
    response: Response,
    parser: Parser,
}

impl Blocks {
    pub fn new(response: Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// None: the stream ended.
    pub async fn next(&mut self) -> Result<Option<Block>, BlockError> {
        loop {
            if let Some(block) = self.parser.take() {
                return block.map(Some);
            }
            if self.parser.unread.len() > BLOCK_BYTES_MAX {
                return Err(BlockError::TooLarge);
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.parser.unread.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(_) => return Err(BlockError::Lost("the network or the server is gone".into())),
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    unread: Vec<u8>,
    /// Bytes at the front of `unread` known to hold no block's end: none is searched twice.
    searched: usize,
}

impl Parser {
    /// Lines end with \n: our server writes no other. A block ends with an empty line.
    fn take(&mut self) -> Option<Result<Block, BlockError>> {
        let Some(at) = self.unread[self.searched..].windows(2).position(|w| w == b"\n\n") else {
            self.searched = self.unread.len().saturating_sub(1);
            return None;
        };
        let end = self.searched + at;
        let block =
            std::str::from_utf8(&self.unread[..end]).map(parse).map_err(|_| BlockError::Lost("not UTF-8".into()));
        self.unread.drain(..end + 2);
        self.searched = 0;
        Some(block)
    }
}

fn parse(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            // The standard ignores one with a NUL.
            "id" if !value.contains('\0') => block.id = Some(value.into()),
            "data" => match &mut block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => block.data = Some(value.into()),
            },
            _ => {}
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_out_whole_however_the_bytes_come_in() {
        let stream = "retry: 2000\n\n: hello\n\nid: C1\ndata: {\"a\":\ndata: \"ż\"}\n\nid: C2\n\ndata:1\n\n";
        let block = |id: Option<&str>, data: Option<&str>| Block { id: id.map(Into::into), data: data.map(Into::into) };
        let want = [
            block(None, None),
            block(None, None),
            block(Some("C1"), Some("{\"a\":\n\"ż\"}")),
            block(Some("C2"), None),
            block(None, Some("1")),
        ];
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let mut got = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                parser.unread.extend_from_slice(piece);
                while let Some(block) = parser.take() {
                    got.push(block.expect("UTF-8"));
                }
            }
            assert_eq!(got, want, "in pieces of {size}");
        }
    }
}
