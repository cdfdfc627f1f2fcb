//! What the scenes with many clients share: a server of its own, its numbers, and enough descriptors.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ChaosError;
use super::stage::Stage;

#[derive(Clone, Debug)]
pub struct Gathering {
    pub clients: usize,
    pub program: PathBuf,
    pub root: PathBuf,
}

/// For the cluster, its files, the log.
const OTHER_DESCRIPTORS: u64 = 500;

impl Gathering {
    pub(super) async fn stage(&self) -> Result<Arc<Stage>, ChaosError> {
        may_open(self.clients as u64 + OTHER_DESCRIPTORS)?;
        let stage = Stage::set(&self.program, &self.root, 1).await?;
        stage.execute(include_str!("../../sql/chaos/gathering.sql")).await?;
        Ok(stage)
    }
}

/// Raises what this process and its children may have open, as far as it is let.
fn may_open(descriptors: u64) -> Result<(), ChaosError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is valid and ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= descriptors {
        return Ok(());
    }
    if limit.rlim_max < descriptors {
        return Err(ChaosError::Program(format!(
            "{descriptors} open files are needed and {} allowed: raise the hard limit (ulimit -Hn), or take fewer clients",
            limit.rlim_max
        )));
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    Ok(())
}

/// A number of `/metrics`; `series` is its name with its labels.
pub(super) async fn metric(address: SocketAddr, series: &str) -> Result<u64, ChaosError> {
    let failed = |e: reqwest::Error| ChaosError::Program(format!("no metrics: {e}"));
    let client = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
    let text = client.get(format!("http://{address}/metrics")).send().await.map_err(failed)?.text().await;
    let text = text.map_err(failed)?;
    let line = text.lines().find(|l| l.strip_prefix(series).is_some_and(|rest| rest.starts_with([' ', '{'])));
    Ok(line.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) as u64)
}

/// What waits in the kernel for clients of this server: the most of one connection, and all together.
pub(super) fn waiting_in_kernel(address: SocketAddr) -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!("{:04X}", address.port());
    let queued = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        let queue = fields.nth(2)?.split(':').next()?;
        (local.rsplit(':').next()? == port).then(|| u64::from_str_radix(queue, 16).ok())?
    });
    queued.fold((0, 0), |(most, all), n| (n.max(most), all + n))
}

/// How many transactions there were, once the sessions have told.
pub(super) async fn transactions(stage: &Stage) -> Result<i64, ChaosError> {
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    Ok(stage.connect().await?.query_one(include_str!("../../sql/chaos/transactions.sql"), &[]).await?.get("n"))
}

/// The middle one, and the one above 99 of a hundred; in milliseconds.
pub(super) fn p50_p99(mut latencies: Vec<Duration>) -> (f64, f64) {
    latencies.sort_unstable();
    let at = |share: usize| {
        let place = (latencies.len() * share / 100).min(latencies.len().saturating_sub(1));
        latencies.get(place).map_or(0.0, |d| d.as_secs_f64() * 1_000.0)
    };
    (at(50), at(99))
}
