//! The refresh of the exchange rates: who is asked, by which rules, and what it counted.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chrono::Utc;

use crate::config::Config;
use crate::provider::{self, Luck};
use crate::rates::{Outcome, Panel, Progress, RatesError, Refresher, Report};
use crate::scheduler::Job;
use crate::store::Store;

/// The job's name in `rowcast.job`.
pub const JOB: &str = "refresh-rates";

#[derive(Debug, thiserror::Error)]
pub enum RatesSetupError {
    #[error("[provider] {0}")]
    Provider(#[from] provider::RegistryError),
    #[error("[rates] {0}")]
    Rates(#[from] RatesError),
}

/// Providers and rules, ready to refresh. Cheap to clone.
#[derive(Clone)]
pub struct Rates(Arc<Inner>);

struct Inner {
    panel: Panel,
    refresher: Refresher,
    store: Store,
    counts: Arc<RateCounts>,
}

/// Since the process began, of the refreshes on this instance.
#[derive(Debug, Default)]
pub struct RateCounts {
    pub refreshes: AtomicU64,
    pub failed: AtomicU64,
    pub written: AtomicU64,
    pub quotes_used: AtomicU64,
    pub quotes_rejected: AtomicU64,
    pub unanswered: AtomicU64,
}

impl Rates {
    /// None: no provider is configured, which switches the rates off.
    pub fn new(config: &Config, store: &Store) -> Result<Option<Self>, RatesSetupError> {
        let client = provider::client(&config.provider).map_err(provider::RegistryError::from)?;
        let providers = provider::registry(&config.provider, &client, &variable)?;
        if providers.is_empty() {
            return Ok(None);
        }
        let refresher = Refresher::new(store.clone(), &config.rates)?;
        let panel = Panel::new(providers, refresher.rules());
        Ok(Some(Self(Arc::new(Inner { panel, refresher, store: store.clone(), counts: Arc::default() }))))
    }

    pub fn counts(&self) -> Arc<RateCounts> {
        self.0.counts.clone()
    }

    pub async fn open_channels(&self) -> Result<(), RatesError> {
        self.0.refresher.open_channels().await
    }

    /// Asks every provider once and publishes what changed.
    pub async fn refresh(&self, progress: Option<Progress>) -> Result<Report, RatesError> {
        let Inner { panel, refresher, store, counts } = &*self.0;
        panel.remember(store, Utc::now()).await?;
        // Spreads the instances' retries; nothing secret hangs on it.
        let luck = || Luck::new((RandomState::new().hash_one(0) % 1_000) as u16);
        let round = panel.ask(Utc::now(), &luck, progress).await;
        counts.refreshes.fetch_add(1, Relaxed);
        // After the answers: a provider's clock is compared with the moment at which its quotes were had.
        let report = refresher.refresh(&round, Utc::now()).await.inspect_err(|_| {
            counts.failed.fetch_add(1, Relaxed);
        })?;
        let unanswered = round.providers.iter().filter(|p| matches!(p.outcome, Outcome::Failed(_) | Outcome::Slow));
        counts.unanswered.fetch_add(unanswered.count() as u64, Relaxed);
        counts.written.fetch_add(report.written as u64, Relaxed);
        counts.quotes_used.fetch_add(report.used as u64, Relaxed);
        counts.quotes_rejected.fetch_add(report.rejected as u64, Relaxed);
        Ok(report)
    }

    pub fn job(&self, cron: &str) -> Job {
        let rates = self.clone();
        Job::new(JOB, cron, move || {
            let rates = rates.clone();
            async move {
                let report = rates.refresh(None).await.map_err(|e| e.to_string())?;
                tracing::debug!(%report, "rates.refresh");
                // The last good values stand, but somebody should look.
                match report.used == 0 && !report.superseded {
                    true => Err(format!("no quote could be used: {report}")),
                    false => Ok(()),
                }
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the providers' keys, under names that the configuration gives")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
