//! Bounds on what one client, or all of them, may take, and how often each has refused somebody.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why somebody was refused; the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Connections,
    ConnectionsPerAddress,
    ConnectionsPerUser,
    Handshakes,
    NewConnections,
    NewConnectionsPerAddress,
    Requests,
    Publishes,
    HeaderBytes,
    HeaderTime,
    WriteStall,
}

impl Limit {
    pub const ALL: [Limit; 11] = [
        Limit::Connections,
        Limit::ConnectionsPerAddress,
        Limit::ConnectionsPerUser,
        Limit::Handshakes,
        Limit::NewConnections,
        Limit::NewConnectionsPerAddress,
        Limit::Requests,
        Limit::Publishes,
        Limit::HeaderBytes,
        Limit::HeaderTime,
        Limit::WriteStall,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::ConnectionsPerAddress => "connections_per_address",
            Limit::ConnectionsPerUser => "connections_per_user",
            Limit::Handshakes => "handshakes",
            Limit::NewConnections => "new_connections",
            Limit::NewConnectionsPerAddress => "new_connections_per_address",
            Limit::Requests => "requests",
            Limit::Publishes => "publishes",
            Limit::HeaderBytes => "header_bytes",
            Limit::HeaderTime => "header_time",
            Limit::WriteStall => "write_stall",
        }
    }
}

/// How often each limit has refused, or cut off, somebody.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Limit::ALL.len()]);

impl Refusals {
    pub fn count(&self, limit: Limit) {
        self.0[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn of(&self, limit: Limit) -> u64 {
        self.0[limit as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_count() {
        let refusals = Refusals::default();
        for (n, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, n);
            refusals.count(limit);
            assert_eq!((refusals.of(limit), limit.as_str().is_empty()), (1, false));
        }
    }
}
