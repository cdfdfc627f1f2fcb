//! Finds by SQL which channels a changed row makes dirty (`keys`: a price -> the portfolios that hold the symbol).

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::reader::Reader;
use super::route::image;
use super::routing::Route;
use super::source::Shared;
use crate::domain::{ChannelName, Pattern};
use crate::store::StoreError;

/// One route's key query: at most one runs, rows that come meanwhile go into the next.
pub struct KeyFinder {
    shared: Arc<Shared>,
    keys_sql: Arc<str>,
    template: Arc<Pattern>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    rows: Vec<Bytes>,
    /// Too many rows to ask for, or the query failed: everything subscribed is dirty. More work, nothing lost.
    all: bool,
}

impl KeyFinder {
    pub fn new(shared: Arc<Shared>, route: &Route) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            shared,
            keys_sql: route.keys_sql.clone()?,
            template: route.template.clone(),
            state: Mutex::default(),
        }))
    }

    pub fn find(self: &Arc<Self>, reader: &Arc<Reader>, rows: Vec<Bytes>) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.rows.len() + rows.len() > self.shared.config.pending_rows_max {
            state.all = true;
            state.rows.clear();
        } else if !state.all {
            state.rows.extend(rows);
        }
        if !state.running {
            state.running = true;
            tokio::spawn(self.clone().run(reader.clone()));
        }
    }

    async fn run(self: Arc<Self>, reader: Arc<Reader>) {
        loop {
            let (rows, all) = {
                let mut state = self.state.lock().expect("no holder of this lock panics");
                if state.rows.is_empty() && !state.all {
                    state.running = false;
                    return;
                }
                (std::mem::take(&mut state.rows), std::mem::take(&mut state.all))
            };
            if all {
                reader.mark_all();
                continue;
            }
            match self.resolve(&rows).await {
                Ok(channels) => reader.mark(channels.into_iter().filter(|c| self.shared.outlet.has_audience(c))),
                Err(StoreError::Unavailable(_)) => {
                    self.state.lock().expect("no holder of this lock panics").all = true;
                    tokio::time::sleep(Duration::from_millis(self.shared.config.retry_ms)).await;
                }
                Err(error) => {
                    tracing::warn!(channel = %self.template, %error, "router.keys: the keys query failed; all subscribed keys are read again");
                    reader.mark_all();
                }
            }
        }
    }

    async fn resolve(&self, rows: &[Bytes]) -> Result<HashSet<ChannelName>, StoreError> {
        let images: Vec<_> = rows.iter().filter_map(image).collect();
        self.shared.stats.key_queries.fetch_add(1, Ordering::Relaxed);
        let found = self.shared.store.resolve_keys(&self.keys_sql, &images).await?;
        Ok(found.iter().filter_map(|key| self.template.fill(|i, _| key.values.get(i))).collect())
    }
}
