//! Every metric of the process: name, help and unit stand here and nowhere else. Modules count in atomics of their
//! own and know nothing of Prometheus; `app` joins the two with `Metrics::source`.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Goes before every name.
const PREFIX: &str = "rowcast";
/// Of what `render` gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A number that a module tells when it is asked. Counters get the suffix `_total` on the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    kind: Kind,
    help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// Declares the constants and the list of them all, so that none can be forgotten.
macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal, $help:literal;)*) => {
        $(pub const $constant: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };)*
        const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    LISTENER_CONNECTED: Gauge "listener_connected", "1 while the listener's session with Postgres stands";
    LISTENER_ASLEEP: Gauge "listener_asleep", "1 while the listener sleeps until the doorbell rings";
    LISTENER_LEADER: Gauge "listener_leader", "1 on the instance that owns the doorbell";
    LISTENER_RECONNECTS: Counter "listener_reconnects", "Sessions with Postgres that had to be replaced";
    LISTENER_DRAINS: Counter "listener_drains", "Reads of the log";
    LISTENER_DRAIN_SECONDS: Counter "listener_drain_seconds", "Time spent reading the log, waiting for the router included";
    LISTENER_ROWS: Counter "listener_rows", "Rows read from the log";
    LISTENER_RINGS: Counter "listener_rings", "Doorbells heard";
    LISTENER_SAFETY_POLL_FINDS: Counter "listener_safety_poll_finds",
        "Rows that only the safety poll found: 0 but around the death of a leader, and with bell => false";
    LISTENER_INCARNATIONS: Counter "listener_incarnations", "Streams begun: each after the first is a reset for everybody";
    LISTENER_FOREIGN_DROPPED: Counter "listener_foreign_dropped", "Payloads of foreign pg channels dropped for want of room";
    LOG_BYTES: Gauge "log_bytes", "Size of the log in Postgres, as it was last tended";
    LOG_STOPPED: Gauge "log_stopped", "1 while nothing is recorded because the log is too large";
    ROUTER_ROWS: Counter "router_rows", "Rows of the log routed";
    ROUTER_MESSAGES: Counter "router_messages", "Messages made from rows";
    ROUTER_DIRTY_KEYS: Counter "router_dirty_keys", "Keys of state channels that changed while somebody listened";
    ROUTER_VIEW_READS: Counter "router_view_reads", "Queries that read keys of state channels";
    ROUTER_KEY_QUERIES: Counter "router_key_queries", "Queries that found which keys a change makes dirty";
    ROUTER_VIEW_ERRORS: Counter "router_view_errors", "Keys whose query failed";
    ROUTER_WHEN_ERRORS: Counter "router_when_errors", "Rows whose condition could not be evaluated, and counted as held";
    ROUTER_ROWS_WITHOUT_CHANNEL: Counter "router_rows_without_channel", "Rows with a null, or no valid name, in a route's key";
    ROUTER_TOO_LARGE: Counter "router_too_large", "Messages over router.message_bytes_max, replaced by an error";
    ROUTER_RELOADS: Counter "router_reloads", "Times the configuration was read";
    ROUTER_LOG_SCANS: Counter "router_log_scans", "Reads of the log for clients that resume beyond the memory";
    DISPATCH_SECONDS: Counter "dispatch_seconds", "From the captured statement to its dispatch, summed over dispatches_timed";
    DISPATCHES_TIMED: Counter "dispatches_timed", "Batches whose newest message was timed for dispatch_seconds";
    HUB_CONNECTIONS: Gauge "hub_connections", "Connections open";
    HUB_SUBSCRIPTIONS: Gauge "hub_subscriptions", "Subscriptions of all connections";
    HUB_CHANNELS: Gauge "hub_channels", "Channels with a subscriber";
    HUB_FRAMES_SENT: Counter "hub_frames_sent", "Frames written to sockets";
    HUB_BYTES_SENT: Counter "hub_bytes_sent", "Bytes written to sockets";
    HUB_CONFLATED: Counter "hub_conflated", "Messages replaced by a newer one of the same key before they were sent";
    HUB_SLOW_CLOSED: Counter "hub_slow_closed", "Connections closed because their backlog was full";
    HUB_IDLE_CLOSED: Counter "hub_idle_closed", "Connections closed because nothing came from them, not even a pong";
    HUB_FLOOD_CLOSED: Counter "hub_flood_closed", "Connections closed because they said too much a second";
    HUB_BACKLOG_BYTES: Gauge "hub_backlog_bytes", "What waits for clients whose sockets take no more";
    HUB_QUEUED_ITEMS: Gauge "hub_queued_items", "Items in the queues of the shards";
    HUB_RECENT_BYTES: Gauge "hub_recent_bytes", "Recent events kept in memory";
    HUB_JOINS_OVERFLOWED: Counter "hub_joins_overflowed", "Subscriptions whose buffer was full before their snapshot was read";
    HUB_PROTOCOL_ERRORS: Counter "hub_protocol_errors", "Connections closed because they broke RFC 6455";
    WEBSOCKETS: Counter "websockets", "WebSockets opened";
    EVENT_STREAMS: Counter "event_streams", "Event streams (SSE) opened";
    REFUSALS: Counter "refusals", "Connections and requests refused or cut off, by limit: connections, connections_per_address, connections_per_user, handshakes, new_connections, new_connections_per_address, requests, publishes, header_bytes, header_time, write_stall";
    AUTHENTICATIONS: Counter "authentications", "Credentials judged, by method (token, session, api_key) and outcome: accepted, invalid, expired, no_user, unknown (nobody could be asked)";
    REVOCATIONS: Counter "revocations", "Subscriptions (access_lost, access_unknown) and connections (expired, ended, disconnected) that were taken from somebody, by reason";
    ACCESS_RECHECKS: Counter "access_rechecks", "Questions of access that were asked again for subscriptions that stood";
    ACCESS_RULES_FAILED: Counter "access_rules_failed", "Rules of access that could not be asked, or not in time";
    JWKS_FETCHES: Counter "jwks_fetches", "Fetches of the issuer's key set, by outcome: ok, failed";
    COMMANDS: Counter "commands", "Client frames understood";
    REFUSED_FRAMES: Counter "refused_frames", "Client frames answered with an error";
    INTAKE_PAUSES: Counter "intake_pauses", "Times that a connection was not read because its inbox was full";
    JOINS: Counter "joins", "Subscriptions, by how they began: fresh, resumed, failed, repeated";
    RESETS: Counter "resets", "Reset frames sent";
    REPLAYED_EVENTS: Counter "replayed_events", "Events sent to clients that resumed";
    JOBS_LEADER: Gauge "jobs_leader", "1 on the instance that runs the jobs";
    JOB_RUNS: Counter "job_runs", "Runs of jobs that this instance ended or recorded, by outcome: ok, failed, timed_out, skipped_overlap, missed";
    RATES_REFRESHES: Counter "rates_refreshes", "Refreshes of the exchange rates on this instance";
    RATES_REFRESHES_FAILED: Counter "rates_refreshes_failed", "Those that could not be written";
    RATES_WRITTEN: Counter "rates_written", "Rates that a refresh changed";
    RATES_UNANSWERED: Counter "rates_unanswered", "Times that a provider failed, or was too slow for its round";
    RATES_QUOTES: Counter "rates_quotes", "Quotes judged, by fate: used, rejected";
    POOL_CONNECTIONS: Gauge "pool_connections", "Connections of the query pool, by state: idle, busy";
}

type Source = Box<dyn Fn(&mut Samples) + Send + Sync>;

/// Gathers and renders. Built by `app` before the stages start, then shared.
pub struct Metrics {
    registry: Registry,
}

/// What the sources answer at a scrape.
#[derive(Default)]
pub struct Samples(HashMap<&'static str, Vec<(Labels, f64)>>);

type Labels = Vec<(&'static str, String)>;

impl Samples {
    pub fn add(&mut self, metric: &Metric, value: impl Number) {
        self.add_labelled(metric, &[], value);
    }

    /// Labels have few values, all known beforehand: never a channel's or a client's name.
    pub fn add_labelled(&mut self, metric: &Metric, labels: &[(&'static str, &str)], value: impl Number) {
        let labels = labels.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        self.0.entry(metric.name).or_default().push((labels, value.number()));
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry }
    }

    /// Adds a module that will be asked at each scrape; must not block.
    pub fn source(&mut self, source: impl Fn(&mut Samples) + Send + Sync + 'static) {
        self.registry.register_collector(Box::new(Asked(Box::new(source))));
    }

    /// The body of `/metrics`.
    pub fn render(&self) -> String {
        let mut body = String::new();
        text::encode(&mut body, &self.registry).expect("a String takes whatever is written");
        body
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// One source. Two sources must not tell the same metric: it would be described twice.
struct Asked(Source);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = Samples::default();
        (self.0)(&mut samples);
        for metric in ALL {
            let Some(values) = samples.0.get(metric.name) else { continue };
            let help = format!("{}.", metric.help); // as the registry does with its own
            let family = Family { kind: metric.kind, values };
            family.encode(encoder.encode_descriptor(metric.name, &help, None, family.metric_type())?)?;
        }
        Ok(())
    }
}

struct Family<'a> {
    kind: Kind,
    values: &'a [(Labels, f64)],
}

impl EncodeMetric for Family<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, value) in self.values {
            if labels.is_empty() {
                self.encode_one(*value, &mut encoder)?;
            } else {
                self.encode_one(*value, &mut encoder.encode_family(labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        }
    }
}

impl Family<'_> {
    fn encode_one(&self, value: f64, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self.kind {
            Kind::Counter => encoder.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>),
            Kind::Gauge => encoder.encode_gauge(&value),
        }
    }
}

/// What modules count in. Prometheus computes in f64, exact up to 2^53.
pub trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        let mut seen = HashSet::new();
        for name in ALL.iter().map(|m| m.name) {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!name.starts_with(PREFIX) && !name.ends_with("_total"), "{name} gets that on the way out");
        }
    }

    #[test]
    fn sources_are_asked_at_each_scrape() {
        let mut metrics = Metrics::new();
        let frames = Arc::new(AtomicU64::new(3));
        let counted = frames.clone();
        metrics.source(move |out| {
            out.add(&HUB_FRAMES_SENT, counted.load(Ordering::Relaxed));
            out.add(&HUB_CONNECTIONS, 2usize);
        });
        metrics.source(|out| {
            out.add_labelled(&JOINS, &[("how", "fresh")], 5u64);
            out.add_labelled(&JOINS, &[("how", "resumed")], 6u64);
            out.add(&LISTENER_ASLEEP, true);
        });
        let body = metrics.render();
        let version = env!("CARGO_PKG_VERSION");
        for line in [
            "# HELP rowcast_hub_frames_sent Frames written to sockets.",
            "# TYPE rowcast_hub_frames_sent counter",
            "rowcast_hub_frames_sent_total 3.0",
            "# TYPE rowcast_hub_connections gauge",
            "rowcast_hub_connections 2.0",
            "rowcast_joins_total{how=\"fresh\"} 5.0",
            "rowcast_joins_total{how=\"resumed\"} 6.0",
            "rowcast_listener_asleep 1.0",
            &format!("rowcast_build_info{{version=\"{version}\"}} 1"),
            "# EOF",
        ] {
            assert!(body.lines().any(|l| l == line), "no {line}\nin {body}");
        }
        frames.store(4, Ordering::Relaxed);
        assert!(metrics.render().contains("rowcast_hub_frames_sent_total 4.0"));
    }
}
