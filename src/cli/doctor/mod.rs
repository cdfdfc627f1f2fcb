//! `rowcast doctor`: what `checks` found, printed.

mod access;
mod checks;
mod judge;
mod rates;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::globals::{Globals, runtime};
use super::out::{Out, Style, tame};

/// Check the database and everything that rowcast needs there, and say how to mend what is wrong
#[derive(Debug, Args)]
pub struct Doctor {
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// Works, but not as well as it could.
    Warn,
    Fail,
}

/// One line of the diagnosis.
#[derive(Clone, Debug)]
pub struct Finding {
    pub verdict: Verdict,
    pub name: String,
    pub detail: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Doctor {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let config = globals.config()?;
        let findings = runtime()?.block_on(checks::all(&config));
        let failed = findings.iter().filter(|f| f.verdict == Verdict::Fail).count();
        let warned = findings.iter().filter(|f| f.verdict == Verdict::Warn).count();
        if self.json || !out.terminal() {
            for f in &findings {
                let verdict = f.verdict.word();
                out.json(&json!({"verdict": verdict, "name": f.name, "detail": f.detail, "hint": f.hint}))?;
            }
        } else {
            let width = findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
            for f in &findings {
                let word = out.paint(f.verdict.style(), &format!("{:<4}", f.verdict.word()));
                out.line(&format!("{word}  {:<width$}  {}", tame(&f.name), tame(&f.detail)))?;
                if let Some(hint) = &f.hint {
                    out.line(&out.paint(Style::Dim, &format!("      {:<width$}  hint: {}", "", tame(hint))))?;
                }
            }
            let sum = match (failed, warned) {
                (0, 0) => "all is well".to_owned(),
                (0, w) => format!("{w} to look at"),
                (f, w) => format!("{f} failed, {w} more to look at"),
            };
            out.line(&sum)?;
        }
        if failed > 0 { Err(Failure::Shown) } else { Ok(()) }
    }
}

impl Finding {
    pub fn new(verdict: Verdict, name: &str, detail: impl Into<String>) -> Self {
        Self { verdict, name: name.into(), detail: detail.into(), hint: None }
    }

    pub fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, name, detail)
    }

    pub fn warn(name: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(Verdict::Warn, name, detail) }
    }

    pub fn fail(name: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(Verdict::Fail, name, detail) }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::Green,
            Self::Warn => Style::Yellow,
            Self::Fail => Style::Red,
        }
    }
}
