use std::io::IsTerminal;

use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub format: Format,
    /// `error`, `warn`, `info`, `debug` or `trace`, and by module: `info,rowcast::listener=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON anywhere else.
    Auto,
    Text,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log level {level:?}: {source}")]
    Level { level: String, source: tracing_subscriber::filter::ParseError },
    #[error("logging was set up already")]
    Twice(#[from] TryInitError),
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Auto, level: "info".into() }
    }
}

/// Ours, and of others what is wrong: at `info` they tell of their insides.
const INFO: &str = "info,poem::server=warn,tokio_cron_scheduler=warn";

/// Sends the process's logs to stderr; stdout belongs to the commands. Once per process.
pub fn init(config: &Config) -> Result<(), LoggingError> {
    let terminal = std::io::stderr().is_terminal();
    subscriber(config, terminal, std::io::stderr)?.try_init()?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "NO_COLOR is everybody's")]
fn subscriber<W>(config: &Config, terminal: bool, to: W) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = if config.level == "info" { INFO } else { &config.level };
    let filter =
        EnvFilter::try_new(level).map_err(|source| LoggingError::Level { level: config.level.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(to);
    let text = config.format == Format::Text || (config.format == Format::Auto && terminal);
    Ok(if text {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Box::new(builder.with_ansi(colour).finish())
    } else {
        Box::new(builder.json().flatten_event(true).with_span_list(false).finish())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no writer panics").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, level: &str, terminal: bool) -> String {
        let sink = Sink::default();
        let config = Config { format, level: level.into() };
        let to = sink.clone();
        let subscriber = subscriber(&config, terminal, move || to.clone()).expect("a level");
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("listener.drain", rows = 3);
            let _in = span.enter();
            tracing::info!(took_ms = 7, "drained");
            tracing::info!(target: "tokio_cron_scheduler::job_scheduler", "Uninited");
            tracing::debug!("aside");
        });
        String::from_utf8(sink.0.lock().expect("no writer panics").clone()).expect("text")
    }

    #[test]
    fn json_is_one_object_a_line_with_span_and_fields() {
        for format in [Format::Json, Format::Auto] {
            let text = logged(format, "info", false);
            assert_eq!(text.lines().count(), 1, "{text}");
            let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(
                (&line["level"], &line["message"], &line["took_ms"]),
                (&"INFO".into(), &"drained".into(), &7.into())
            );
            assert_eq!((&line["span"]["name"], &line["span"]["rows"]), (&"listener.drain".into(), &3.into()));
        }
    }

    #[test]
    fn a_terminal_gets_text() {
        let text = logged(Format::Auto, "debug", true);
        assert!(
            text.contains("drained") && text.contains("aside") && text.contains("Uninited") && !text.starts_with('{'),
            "{text}"
        );
        assert!(!logged(Format::Text, "info", false).contains('\u{1b}'), "no colour in a file");
    }

    #[test]
    fn a_bad_level_is_refused() {
        let config = Config { format: Format::Auto, level: "info,rowcast=loud".into() };
        let e = subscriber(&config, false, std::io::sink).err().expect("no such level");
        assert!(e.to_string().contains("loud"), "{e}");
    }
}
