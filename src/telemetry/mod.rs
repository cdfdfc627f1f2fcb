//! What the process says about itself: logs on stderr, numbers for Prometheus.

pub mod logging;
pub mod metrics;
