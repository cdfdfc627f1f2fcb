//! What goes to stdout: for people on a terminal, JSON lines in a pipe.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use super::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Dim,
    Bold,
    Red,
    Green,
    Yellow,
    Cyan,
    Magenta,
}

/// stdout. A reader that went away (`rowcast tail rates | head -1`) ends the command quietly.
pub struct Out {
    to: BufWriter<Stdout>,
    terminal: bool,
    colour: bool,
}

impl Out {
    #[expect(clippy::disallowed_methods, reason = "what terminals agreed on, no settings of ours")]
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        // no-color.org: any value that is not empty.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { to: BufWriter::new(io::stdout()), terminal, colour: terminal && !unwanted }
    }

    /// Does a person read this?
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.to, "{text}").map_err(Failure::stdout)?;
        self.flush()
    }

    pub fn json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(Failure::stdout)
    }

    /// `text` in a style, where colours are wanted.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match style {
            Style::Dim => 2,
            Style::Bold => 1,
            Style::Red => 31,
            Style::Green => 32,
            Style::Yellow => 33,
            Style::Cyan => 36,
            Style::Magenta => 35,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Text of others on a terminal: a control character could move the cursor or do worse.
pub fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A note beside the output.
pub fn note(text: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(io::stderr(), "{}", tame(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(tame("zażółć \u{1b}[2J\u{9b}2J\r\n"), "zażółć \u{fffd}[2J\u{fffd}2J\u{fffd}\u{fffd}");
    }
}
