//! What is dispatched only after a snapshot has shown it: not to those who were shown it, and to everybody else.

use super::support::*;

/// Live with a snapshot that was read at `read_at`.
fn shown(hub: &Hub, c: &Conn, channel: &str, read_at: u64) {
    let channel = name(channel);
    hub.join(c.id, &channel).expect("open");
    hub.go_live(c.id, &channel, &Position::at(at(read_at)), &[c.payload("shown")]).expect("joined");
}

fn events(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|n| format!("a|e|{n}|{}.{n}", n + 1)).collect()
}

#[tokio::test]
async fn each_gets_what_its_own_snapshot_does_not_show() {
    for way in ALL {
        let hub = hub(small());
        let mut all = Vec::new();
        // The stream stands at 1: the first was shown nothing that is still to come, the others more and more of it.
        for (read_at, first) in [(1, 1), (3, 3), (6, 6), (3, 3)] {
            let c = connect(&hub, way).await;
            shown(&hub, &c, "a", read_at);
            all.push((c, first));
        }
        for n in 1..=8 {
            emit(&hub, "a", n);
        }
        for (c, first) in &mut all {
            assert_eq!(c.text().await, "shown", "{way:?}");
            assert_eq!(c.until("a|e|8|9.8").await, events(*first, 8), "{way:?}, shown all before {first}");
        }
    }
}

#[tokio::test]
async fn a_state_that_was_read_before_the_one_shown_is_not_said() {
    for way in ALL {
        let hub = hub(small());
        let mut old = connect(&hub, way).await;
        let mut new = connect(&hub, way).await;
        shown(&hub, &old, "a", 2);
        shown(&hub, &new, "a", 5);
        for read_at in [2, 3, 5, 6] {
            hub.publish(state("a", read_at, &read_at.to_string()));
        }
        for (c, expected) in [(&mut old, vec!["shown", "3", "5", "6"]), (&mut new, vec!["shown", "6"])] {
            let said = c.until("a|e|6|1.0").await;
            let said: Vec<&str> = said.iter().map(|text| text.split('|').nth(2).unwrap_or(text)).collect();
            assert_eq!(said, expected, "{way:?}");
        }
    }
}

/// Who comes again without a snapshot has been shown nothing, whatever it had been shown before.
#[tokio::test]
async fn leaving_ends_it() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        // The channel stays while another listens.
        let other = connect(&hub, way).await;
        other.live(&hub, "a");
        shown(&hub, &c, "a", 6);
        emit(&hub, "a", 1);
        assert!(hub.leave(c.id, &name("a")));
        c.live(&hub, "a");
        for n in 2..=7 {
            emit(&hub, "a", n);
        }
        assert_eq!(c.until("a|e|7|8.7").await, [vec!["shown".to_owned()], events(2, 7)].concat(), "{way:?}");
    }
}
