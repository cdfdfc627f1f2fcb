//! Which stage's count is which metric.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::maintenance::LogState;
use super::rates::RateCounts;
use crate::auth::{self, Loss, Method, Outcome};
use crate::connection::{Limit, Shared};
use crate::hub::Hub;
use crate::listener::{ListenerHandle, Status};
use crate::router::Router;
use crate::scheduler::Counts;
use crate::store::Store;
use crate::telemetry::metrics::{self as m, Metrics, Samples};

pub fn metrics(
    listener: &ListenerHandle,
    router: &Arc<Router>,
    hub: &Hub,
    shared: &Arc<Shared>,
    store: &Store,
    log: Arc<LogState>,
) -> Metrics {
    let mut metrics = Metrics::new();
    of_listener(&mut metrics, listener.clone());
    of_router(&mut metrics, router.clone());
    of_hub(&mut metrics, hub.clone());
    of_connections(&mut metrics, shared.clone());
    metrics.source(move |out| {
        out.add(&m::LOG_BYTES, log.bytes.load(Relaxed));
        out.add(&m::LOG_STOPPED, log.stopped.load(Relaxed));
    });
    let store = store.clone();
    metrics.source(move |out| {
        let (idle, all) = store.pool_size();
        out.add_labelled(&m::POOL_CONNECTIONS, &[("state", "idle")], idle);
        out.add_labelled(&m::POOL_CONNECTIONS, &[("state", "busy")], all.saturating_sub(idle));
    });
    metrics
}

pub fn of_jobs(metrics: &mut Metrics, jobs: Arc<Counts>, rates: Option<Arc<RateCounts>>) {
    let get = |n: &AtomicU64| n.load(Relaxed);
    metrics.source(move |out| {
        out.add(&m::JOBS_LEADER, jobs.leads.load(Relaxed));
        let outcomes = [
            ("ok", &jobs.ok),
            ("failed", &jobs.failed),
            ("timed_out", &jobs.timed_out),
            ("skipped_overlap", &jobs.skipped),
            ("missed", &jobs.missed),
        ];
        for (outcome, count) in outcomes {
            out.add_labelled(&m::JOB_RUNS, &[("outcome", outcome)], get(count));
        }
    });
    let Some(rates) = rates else { return };
    metrics.source(move |out| {
        out.add(&m::RATES_REFRESHES, get(&rates.refreshes));
        out.add(&m::RATES_REFRESHES_FAILED, get(&rates.failed));
        out.add(&m::RATES_WRITTEN, get(&rates.written));
        out.add(&m::RATES_UNANSWERED, get(&rates.unanswered));
        out.add_labelled(&m::RATES_QUOTES, &[("fate", "used")], get(&rates.quotes_used));
        out.add_labelled(&m::RATES_QUOTES, &[("fate", "rejected")], get(&rates.quotes_rejected));
    });
}

fn of_listener(metrics: &mut Metrics, listener: ListenerHandle) {
    let status = listener.status();
    metrics.source(move |out| {
        let live = match &*status.borrow() {
            Status::Live(live) => Some(*live),
            _ => None,
        };
        out.add(&m::LISTENER_CONNECTED, live.is_some());
        out.add(&m::LISTENER_ASLEEP, live.is_some_and(|l| l.asleep));
        out.add(&m::LISTENER_LEADER, live.is_some_and(|l| l.leader));
        let s = listener.stats().snapshot();
        out.add(&m::LISTENER_RECONNECTS, s.connects.saturating_sub(1));
        out.add(&m::LISTENER_DRAINS, s.drains);
        out.add(&m::LISTENER_DRAIN_SECONDS, s.drain_us as f64 / 1e6);
        out.add(&m::LISTENER_ROWS, s.rows);
        out.add(&m::LISTENER_RINGS, s.rings);
        out.add(&m::LISTENER_SAFETY_POLL_FINDS, s.rows_found_by_safety_poll);
        out.add(&m::LISTENER_INCARNATIONS, s.begins);
        out.add(&m::LISTENER_FOREIGN_DROPPED, s.foreign_dropped);
    });
}

fn of_router(metrics: &mut Metrics, router: Arc<Router>) {
    metrics.source(move |out| {
        let s = router.stats();
        let get = |n: &AtomicU64| n.load(Relaxed);
        out.add(&m::ROUTER_ROWS, get(&s.rows));
        out.add(&m::ROUTER_MESSAGES, get(&s.messages));
        out.add(&m::ROUTER_DIRTY_KEYS, get(&s.dirty_keys));
        out.add(&m::ROUTER_VIEW_READS, get(&s.view_reads));
        out.add(&m::ROUTER_KEY_QUERIES, get(&s.key_queries));
        out.add(&m::ROUTER_VIEW_ERRORS, get(&s.view_errors));
        out.add(&m::ROUTER_WHEN_ERRORS, get(&s.when_errors));
        out.add(&m::ROUTER_ROWS_WITHOUT_CHANNEL, get(&s.rows_without_channel));
        out.add(&m::ROUTER_TOO_LARGE, get(&s.too_large));
        out.add(&m::ROUTER_RELOADS, get(&s.reloads));
        out.add(&m::ROUTER_LOG_SCANS, get(&s.log_scans));
        out.add(&m::DISPATCH_SECONDS, get(&s.latency_us) as f64 / 1e6);
        out.add(&m::DISPATCHES_TIMED, get(&s.messages_timed));
    });
}

fn of_hub(metrics: &mut Metrics, hub: Hub) {
    metrics.source(move |out| {
        let s = hub.stats();
        out.add(&m::HUB_CONNECTIONS, s.connections);
        out.add(&m::HUB_SUBSCRIPTIONS, s.subscriptions);
        out.add(&m::HUB_CHANNELS, s.channels);
        out.add(&m::HUB_FRAMES_SENT, s.delivered_frames);
        out.add(&m::HUB_BYTES_SENT, s.delivered_bytes);
        out.add(&m::HUB_CONFLATED, s.conflated);
        out.add(&m::HUB_SLOW_CLOSED, s.slow_closed);
        out.add(&m::HUB_IDLE_CLOSED, s.idle_closed);
        out.add(&m::HUB_FLOOD_CLOSED, s.flood_closed);
        out.add(&m::HUB_BACKLOG_BYTES, s.backlog_bytes);
        out.add(&m::HUB_QUEUED_ITEMS, s.fifo_items);
        out.add(&m::HUB_RECENT_BYTES, s.recent_bytes);
        out.add(&m::HUB_JOINS_OVERFLOWED, s.joins_overflowed);
        out.add(&m::HUB_PROTOCOL_ERRORS, s.protocol_errors);
    });
}

fn of_connections(metrics: &mut Metrics, shared: Arc<Shared>) {
    metrics.source(move |out| {
        let s = shared.stats.snapshot();
        out.add(&m::WEBSOCKETS, s.websockets);
        out.add(&m::EVENT_STREAMS, s.event_streams);
        out.add(&m::COMMANDS, s.commands);
        out.add(&m::REFUSED_FRAMES, s.refused_frames);
        out.add(&m::INTAKE_PAUSES, s.pauses);
        let joins = [
            ("fresh", s.joins_fresh),
            ("resumed", s.joins_resumed),
            ("failed", s.joins_failed),
            ("repeated", s.joins_repeated),
        ];
        for (how, count) in joins {
            out.add_labelled(&m::JOINS, &[("how", how)], count);
        }
        out.add(&m::RESETS, s.resets);
        for limit in Limit::ALL {
            out.add_labelled(&m::REFUSALS, &[("limit", limit.as_str())], shared.stats.refusals.of(limit));
        }
        out.add(&m::REPLAYED_EVENTS, s.replayed_events);
        of_auth(out, &shared.auth.stats);
    });
}

fn of_auth(out: &mut Samples, s: &auth::Stats) {
    for method in Method::ALL {
        for outcome in Outcome::ALL {
            let labels = [("method", method.as_str()), ("outcome", outcome.as_str())];
            out.add_labelled(&m::AUTHENTICATIONS, &labels, s.answers(method, outcome));
        }
    }
    for loss in Loss::ALL {
        out.add_labelled(&m::REVOCATIONS, &[("reason", loss.as_str())], s.losses(loss));
    }
    let get = |n: &AtomicU64| n.load(Relaxed);
    out.add(&m::ACCESS_RECHECKS, get(&s.rechecks));
    out.add(&m::ACCESS_RULES_FAILED, get(&s.rules_failed));
    out.add_labelled(&m::JWKS_FETCHES, &[("outcome", "ok")], get(&s.jwks_fetched));
    out.add_labelled(&m::JWKS_FETCHES, &[("outcome", "failed")], get(&s.jwks_failed));
}
