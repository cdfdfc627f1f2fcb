//! JSON text as Postgres writes it, walked without a parse: where a value ends, so that its text can be passed on as it is.
//! What is no JSON ends the walk; nothing is checked beyond that.

/// Behind `byte`, which must come next.
pub fn after(json: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = blank(json, at);
    (*json.get(at)? == byte).then_some(at + 1)
}

pub fn blank(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of the string that begins here.
pub fn string(json: &[u8], at: usize) -> Option<usize> {
    let mut at = after(json, at, b'"')?;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The end of the value that begins here.
pub fn value(json: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    let mut depth = 0;
    loop {
        match json.get(end)? {
            b'"' => end = string(json, end)?,
            b'{' | b'[' => (depth, end) = (depth + 1, end + 1),
            b'}' | b']' if depth > 0 => (depth, end) = (depth - 1, end + 1),
            b',' | b'}' | b']' if depth == 0 => break,
            byte if depth == 0 && byte.is_ascii_whitespace() => break,
            _ => {
                end += 1;
                continue;
            }
        }
        // What has just closed was the value, unless it is within another.
        if depth == 0 {
            break;
        }
    }
    (end > at).then_some(end)
}
