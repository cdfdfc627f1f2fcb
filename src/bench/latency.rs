//! From the answered commit to the client's socket, with a moderate load; the durable commit itself apart.

use super::crowd::Crowd;
use super::figures::Spread;
use super::ground::{Ground, PATIENCE};
use super::report::Latency;
use super::server::Server;
use super::ticker::Ticker;
use super::{Agenda, BenchError};

const CLIENTS_MAX: usize = 100;
const COMMITS_PER_S: f64 = 100.0;
const WRITERS: usize = 4;

pub async fn measure(agenda: &Agenda<'_>, ground: &Ground, server: &Server) -> Result<Latency, BenchError> {
    let clients = agenda.plan.clients.min(CLIENTS_MAX);
    agenda.begin(&format!("latency to {clients} clients"), agenda.plan.lasts);
    let crowd = Crowd::gather(server.authority(), "bench_tick", clients).await?;
    let mut ticker = Ticker::new(ground, WRITERS, true).await?;
    // The first are for caches.
    let warm = ticker.run(20, COMMITS_PER_S, crowd.epoch()).await?;
    let mut expected = (warm.all.len() * clients) as u64;
    crowd.wait_for(expected, PATIENCE).await;
    crowd.take();

    let count = (COMMITS_PER_S * agenda.plan.lasts.as_secs_f64()).ceil() as u64;
    let ticks = ticker.run(count, COMMITS_PER_S, crowd.epoch()).await?;
    expected += (ticks.all.len() * clients) as u64;
    if !crowd.wait_for(expected, PATIENCE).await {
        let missing = expected.saturating_sub(crowd.heard());
        return Err(BenchError::Missing { missing, expected, within_s: PATIENCE.as_secs() });
    }
    let heard = crowd.take();
    // The notification may overtake the answer to the writer: such a client waited for nothing.
    let after = heard.iter().filter_map(|(n, at)| Some(at.saturating_sub(ticks.find(*n)?.committed_us)));
    let whole = heard.iter().filter_map(|(n, at)| Some(at.saturating_sub(ticks.find(*n)?.sent_us)));
    let commit = ticks.all.iter().map(|tick| tick.committed_us - tick.sent_us);
    let spread = |us: Vec<u64>| Spread::of_us(us).expect("something was heard");
    Ok(Latency {
        clients,
        commits_per_s: ticks.per_s,
        commit: spread(commit.collect()),
        after_commit: spread(after.collect()),
        whole: spread(whole.collect()),
    })
}
