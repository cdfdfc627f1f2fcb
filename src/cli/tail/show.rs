//! One frame on stdout.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Failure;
use super::super::out::{Out, Style, note, tame};

/// What is printed and for how long.
pub struct Show {
    snapshots: bool,
    events_left: Option<u64>,
    /// The widest channel and event so far, in characters: columns only grow.
    channel_width: usize,
    event_width: usize,
}

/// `data` stays text: numbers keep their digits.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    at: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

impl Show {
    pub fn new(snapshots: bool, events_max: Option<u64>) -> Self {
        Self { snapshots, events_left: events_max, channel_width: 0, event_width: 0 }
    }

    /// Were as many events shown as were wanted?
    pub fn done(&self) -> bool {
        self.events_left == Some(0)
    }

    pub fn frame(&mut self, json: &str, out: &mut Out) -> Result<(), Failure> {
        let Ok(frame) = serde_json::from_str::<Frame>(json) else {
            note("a frame that is not understood was left out");
            return Ok(());
        };
        match &*frame.kind {
            "event" => {
                if let Some(left) = &mut self.events_left {
                    *left = left.saturating_sub(1);
                }
                self.print(&frame, &frame.event, json, out)
            }
            "snapshot" if self.snapshots => self.print(&frame, "snapshot", json, out),
            // The stream began anew: whoever keeps state from it must know.
            "reset" if out.terminal() => {
                let why = format!("{}  {}  {}", "reset", tame(&frame.channel), tame(&frame.message));
                out.line(&out.paint(Style::Red, &why))
            }
            "reset" => out.line(&one_line(json)),
            "error" => {
                note(&format!("{}: {} ({})", frame.channel, frame.message, frame.code));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn print(&mut self, frame: &Frame, event: &str, json: &str, out: &mut Out) -> Result<(), Failure> {
        if !out.terminal() {
            return out.line(&one_line(json));
        }
        let (channel, event) = (tame(&frame.channel), tame(event));
        self.channel_width = self.channel_width.max(channel.chars().count());
        self.event_width = self.event_width.max(event.chars().count());
        let style = match &*event {
            "insert" => Style::Green,
            "delete" | "truncate" => Style::Red,
            "snapshot" => Style::Bold,
            "update" | "state" => Style::Yellow,
            _ => Style::Magenta,
        };
        let at = out.paint(Style::Dim, &format!("{:<12}", time_of_day(&frame.at)));
        let channel = out.paint(Style::Cyan, &format!("{channel:<0$}", self.channel_width));
        let event = out.paint(style, &format!("{event:<0$}", self.event_width));
        let data = tame(&one_line(frame.data.map_or("null", RawValue::get)));
        out.line(&format!("{at}  {channel}  {event}  {data}"))
    }
}

/// Line breaks stand between JSON's tokens only; in a string they are escaped.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// `14:03:22.123` of `2024-01-15T14:03:22.123456Z` (UTC); whatever else it is stays as it is.
fn time_of_day(at: &str) -> Cow<'_, str> {
    match at.split_once('T') {
        Some((_, time)) => Cow::Borrowed(time.get(..12).unwrap_or(time.trim_end_matches('Z'))),
        None => Cow::Owned(tame(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_digits_and_takes_one_line() {
        let json =
            "{\"type\":\"event\",\"channel\":\"a\\nb\",\"event\":\"update\",\"data\":{\n\"n\":10.50},\"at\":\"x\"}";
        let frame: Frame = serde_json::from_str(json).expect("a frame");
        assert_eq!(frame.data.map(|d| one_line(d.get())).as_deref(), Some("{ \"n\":10.50}"));
        assert_eq!(frame.channel, "a\nb");
    }

    #[test]
    fn the_time_of_day_is_cut_to_milliseconds() {
        for (at, want) in
            [("2024-01-15T14:03:22.123456Z", "14:03:22.123"), ("2024-01-15T14:03:22Z", "14:03:22"), ("", "")]
        {
            assert_eq!(time_of_day(at), want);
        }
    }
}
