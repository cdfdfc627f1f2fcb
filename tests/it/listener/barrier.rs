//! A barrier ends when everything that was visible at its call has passed through the feed.

use std::time::Duration;

use rowcast::domain::{Drains, Feed};
use rowcast::listener::Config;

use super::{Tap, beltless, notes};
use crate::kit::patiently;

#[tokio::test]
async fn it_comes_behind_the_rows_that_were_visible_when_it_was_asked_for() {
    let db = notes().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    for i in 0..20 {
        // Nothing rings for a quiet note, and there is no belt: only the barrier's own drain can bring it.
        tap.armed().await;
        db.exec(&format!("insert into quiet_note values ('{i}')")).await;
        tap.caught_up().await;
        assert_eq!(tap.stream.rows.len(), i + 1);
    }
}

#[tokio::test]
async fn an_empty_drain_for_it_advances_the_cursor() {
    let db = notes().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    let now = db.text("select pg_current_xact_id()::text").await.parse().expect("an xid");
    tap.caught_up().await;
    assert!(tap.stream.at.as_ref().expect("begun").sees(now), "the place is past what was committed before");
}

#[tokio::test]
async fn many_share_one_message() {
    let db = notes().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    tap.armed().await;
    let handle = tap.handle.clone();
    let waiting = tokio::spawn(async move {
        let barriers: Vec<_> = (0..500).map(|_| handle.barrier()).collect();
        futures_util::future::join_all(barriers).await
    });
    let mut messages = 0;
    let mut waiting = std::pin::pin!(patiently("the barriers", waiting));
    let passed = loop {
        tokio::select! {
            passed = &mut waiting => break passed.expect("no panic"),
            Some(feed) = tap.feed.recv() => {
                messages += usize::from(matches!(feed, Feed::Barrier(_)));
                tap.stream.take(feed);
            }
        }
    };
    assert!(passed.len() == 500 && passed.iter().all(|passed| *passed));
    assert!(messages <= 20, "{messages} messages for 500 barriers");
}

#[tokio::test]
async fn it_is_false_when_the_connection_stays_down() {
    let db = notes().await;
    let proxy = db.proxy().await;
    let config = Config { barrier_timeout_ms: 200, ..beltless() };
    let mut tap = Tap::live(config, &db.url_through(&proxy)).await;
    tap.caught_up().await;
    proxy.refuse().await;
    proxy.cut().await;
    assert!(!patiently("the barrier to give up", tap.handle.barrier()).await);
}

#[tokio::test]
async fn it_outlives_a_short_outage() {
    let db = notes().await;
    let proxy = db.proxy().await;
    let mut tap = Tap::live(beltless(), &db.url_through(&proxy)).await;
    tap.caught_up().await;
    proxy.refuse().await;
    proxy.cut().await;
    db.exec("insert into note values ('while away')").await;
    let handle = tap.handle.clone();
    let barrier = tokio::spawn(async move { handle.barrier().await });
    let mut status = tap.handle.status();
    let down = status.wait_for(|status| matches!(status, rowcast::listener::Status::Connecting { .. }));
    patiently("the loss to be noticed", down).await.expect("runs");
    proxy.restore().await;
    tap.until("the row", |stream| stream.has("\"while away\"")).await;
    while !barrier.is_finished() {
        if let Ok(Some(feed)) = tokio::time::timeout(Duration::from_millis(10), tap.feed.recv()).await {
            tap.stream.take(feed);
        }
    }
    assert!(barrier.await.expect("no panic"));
    assert_eq!(tap.stream.begins.len(), 1);
}
