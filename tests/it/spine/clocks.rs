//! Clocks that are wrong, or jump. Only Postgres' is asked (when the log is rotated); of our own only what passes counts.

use super::*;
use crate::kit::wait_until;

/// As if the clock of Postgres had jumped within each transaction, by hours, back and forth: the row gets the moment and the slot of that
/// clock. Everything comes, once and in order, live and resumed.
#[tokio::test]
async fn clocks_that_jump_lose_nothing() {
    let db = TestDb::new().await;
    db.exec("create table item (id int primary key); select rowcast.watch('item', 'items')").await;
    let server = Server::start(&db).await;
    let mut live = client(&server).await;
    live.send(json!({"type": "subscribe", "channel": "items"})).await;
    let cursor = live.next_of("subscribed").await.str_of("cursor").to_owned();
    live.next_of("snapshot").await;
    // None into the slot that rotation empties next: whoever resumes would be told, see below.
    let jumps_min = [0, -300, 45, 720, -15, 105, -720, -75, 0, -15];
    for (id, jump) in jumps_min.iter().enumerate() {
        db.exec(&format!(
            "insert into item values ({id});
             update rowcast.event set at = at + {jump} * interval '1 minute', slot = (slot + {} + 400) % 4
              where xid = pg_current_xact_id()",
            jump / 15
        ))
        .await;
    }
    for id in 0..jumps_min.len() {
        assert_eq!(live.next_of("event").await["data"]["id"], id, "live");
    }
    // Resumed from the log: the server that has it in memory is gone.
    server.stop().await;
    let server = Server::start(&db).await;
    let mut late = client(&server).await;
    late.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
    assert_eq!(late.next_of("subscribed").await["resumed"], true);
    for id in 0..jumps_min.len() {
        assert_eq!(late.next_of("event").await["data"]["id"], id, "resumed");
    }

    // The clock jumps ahead so that rotation empties the slot being written: who has kept up hears nothing of it, who is behind is told.
    // On a slow machine the listener itself may be behind, and says so; not each time.
    let mut kept_up = false;
    for id in (100..120).step_by(2) {
        db.exec(&format!("insert into item values ({id})")).await;
        assert_eq!(late.next_of("event").await["data"]["id"], id);
        wait_until("the slot is emptied", async || {
            let jump = "select rowcast.rotate_at(date_part('epoch', clock_timestamp())::bigint + 2700)";
            db.text(jump).await.starts_with("truncated")
        })
        .await;
        db.exec(&format!("insert into item values ({})", id + 1)).await;
        let mut frame = late.next().await;
        while frame["type"] == "heartbeat" {
            frame = late.next().await;
        }
        kept_up = frame["type"] == "event";
        if kept_up {
            assert_eq!(frame["data"]["id"], id + 1);
            break;
        }
        assert_eq!((&frame["type"], &frame["code"]), (&json!("reset"), &json!("stream_restarted")), "{}", frame.raw);
        late.skip_to("snapshot").await;
    }
    assert!(kept_up, "a reset each time");
    server.stop().await;
    let server = Server::start(&db).await;
    let mut behind = client(&server).await;
    behind.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
    assert_eq!(behind.next_of("reset").await["code"], "cursor_expired");
    server.stop().await;
}
