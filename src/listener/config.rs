use serde::Deserialize;

/// `[listener]` of the configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Pause between two drains while awake.
    pub drain_interval_ms: u64,
    /// Empty drains in a row before it tries to fall asleep.
    pub empty_drains_before_sleep: u32,
    /// Longest pause between tries to fall asleep while a silent writer is in flight.
    pub arm_backoff_ms_max: u64,
    /// Up to this rate, and while no writer waits for another one to have rung, it drains on each ring and keeps the
    /// doorbell; else it lets go and polls, which writers do not notice.
    pub wake_rings_per_s: u32,
    /// A drain this long after the last one, ring or no ring. `Stats::rows_found_by_safety_poll` counts what only it
    /// found. Also how soon a follower notices that the leader is gone.
    pub safety_poll_ms: u64,
    /// Pause between the heartbeats that tell others that this one lives.
    pub heartbeat_ms: u64,
    /// A leader whose last heartbeat is older is ended and succeeded.
    pub leader_stale_ms: u64,
    /// Rows of one `Feed::Rows`.
    pub drain_rows_max: usize,
    /// Bytes of one `Feed::Rows`: it is passed on when it has at least this much.
    pub drain_bytes_max: usize,
    /// How long a drain may hold its statement open while the consumer has no room. Then the rest is given up, to be
    /// read again when there is room.
    pub feed_stall_ms: u64,
    /// How long connecting may take, unless the URL says `connect_timeout`.
    pub connect_timeout_ms: u64,
    /// How long the server may stay silent in the middle of a statement before the connection counts as dead. Doubled
    /// after each time that a drain ran into it, up to ten minutes.
    pub reply_timeout_ms: u64,
    /// A question to the server when nothing else was asked for so long.
    pub ping_interval_ms: u64,
    /// TCP keepalives of our socket and, where the server allows it, of the server's.
    pub keepalive_idle_s: u64,
    pub keepalive_interval_s: u64,
    pub keepalive_count: u32,
    /// How long sent bytes may stay unacknowledged, on both ends.
    pub tcp_user_timeout_ms: u64,
    /// How often the server looks whether our end is still there while it runs a statement (from version 14).
    pub server_check_ms: u64,
    /// Pause before connecting again: doubled from min to max, each time shortened by up to a half at random.
    pub reconnect_ms_min: u64,
    pub reconnect_ms_max: u64,
    /// How long a barrier may take, a lost connection included.
    pub barrier_timeout_ms: u64,
    /// Other applications' pg channels to pass on.
    pub foreign_channels: Vec<String>,
    /// Their payloads that may wait for the consumer; more are dropped and counted.
    pub foreign_queue_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            drain_interval_ms: 2,
            empty_drains_before_sleep: 3,
            arm_backoff_ms_max: 20,
            wake_rings_per_s: 250,
            safety_poll_ms: 2_000,
            heartbeat_ms: 5_000,
            leader_stale_ms: 15_000,
            drain_rows_max: 2_048,
            drain_bytes_max: 4 << 20,
            feed_stall_ms: 1_000,
            connect_timeout_ms: 10_000,
            reply_timeout_ms: 10_000,
            ping_interval_ms: 5_000,
            keepalive_idle_s: 10,
            keepalive_interval_s: 5,
            keepalive_count: 3,
            tcp_user_timeout_ms: 20_000,
            server_check_ms: 5_000,
            reconnect_ms_min: 50,
            reconnect_ms_max: 5_000,
            barrier_timeout_ms: 5_000,
            foreign_channels: Vec::new(),
            foreign_queue_max: 1_024,
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("listener.{0} must be at least 1")]
    Zero(&'static str),
    #[error("listener.leader_stale_ms must be at least twice heartbeat_ms, or healthy leaders would be ended")]
    Stale,
    #[error("listener.reconnect_ms_max is smaller than reconnect_ms_min")]
    Reconnect,
    #[error("listener.foreign_channels: {0:?} cannot be the name of a pg channel (1 to 63 bytes)")]
    Channel(String),
    #[error("listener.foreign_channels: '{PG_CHANNEL}' is rowcast's own pg channel")]
    OwnChannel,
}

/// The pg channel of the doorbell.
pub(super) const PG_CHANNEL: &str = "rowcast";

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("drain_interval_ms", self.drain_interval_ms),
            ("arm_backoff_ms_max", self.arm_backoff_ms_max),
            ("safety_poll_ms", self.safety_poll_ms),
            ("heartbeat_ms", self.heartbeat_ms),
            ("drain_rows_max", self.drain_rows_max as u64),
            ("drain_bytes_max", self.drain_bytes_max as u64),
            ("feed_stall_ms", self.feed_stall_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("reply_timeout_ms", self.reply_timeout_ms),
            ("ping_interval_ms", self.ping_interval_ms),
            ("reconnect_ms_min", self.reconnect_ms_min),
            ("foreign_queue_max", self.foreign_queue_max as u64),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.leader_stale_ms < 2 * self.heartbeat_ms {
            return Err(ConfigError::Stale);
        }
        if self.reconnect_ms_max < self.reconnect_ms_min {
            return Err(ConfigError::Reconnect);
        }
        for channel in &self.foreign_channels {
            if channel == PG_CHANNEL {
                return Err(ConfigError::OwnChannel);
            }
            if channel.is_empty() || channel.len() > 63 || channel.contains('\0') {
                return Err(ConfigError::Channel(channel.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_contradictions_are_refused() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate()
        };
        let long = "x".repeat(64);
        let cases: [(Result<(), ConfigError>, Result<(), ConfigError>); 6] = [
            (with(|_| ()), Ok(())),
            (with(|c| c.drain_rows_max = 0), Err(ConfigError::Zero("drain_rows_max"))),
            (with(|c| c.leader_stale_ms = 9_999), Err(ConfigError::Stale)),
            (with(|c| c.reconnect_ms_max = 1), Err(ConfigError::Reconnect)),
            (with(|c| c.foreign_channels = vec!["x".repeat(64)]), Err(ConfigError::Channel(long))),
            (with(|c| c.foreign_channels = vec!["rowcast".into()]), Err(ConfigError::OwnChannel)),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }
}
