//! The five endpoints of the learning platform.

use serde_json::json;

use super::{golden, survives_nonsense, take, world};

#[tokio::test]
async fn a_submission_its_grade_and_its_feedback_reach_who_is_concerned() {
    let world = world("").await;
    let mut dashboard = world.connect("/ws/dashboard/", Some(3)).await;
    let mut mentor = world.connect("/ws/mentor/3/", Some(3)).await;
    let mut student = world.connect("/ws/student/1/", Some(1)).await;
    let mut bob = world.connect("/ws/student/2", Some(8)).await;
    dashboard.next_of("connection_established").await;
    survives_nonsense(&mut dashboard, Some(r#"{"type":"ping","timestamp":"settled"}"#)).await;
    for client in [&mut mentor, &mut student, &mut bob] {
        // What it answers shows that it has been let in; its stream began before.
        client.send_message(tokio_tungstenite::tungstenite::Message::text("{")).await;
        client.next_of("error").await;
    }
    dashboard.next_of("pong").await;
    for sql in [
        "insert into submission (id, student_id, assignment_title, submitted_at) values (7, 1, 'Essay \"one\"', '2026-11-20T16:05:00Z')",
        "update submission set grade = 92.50, graded_by_id = 3, feedback = 'Well argued.' where id = 7",
        "update submission set feedback = 'Very well argued.' where id = 7",
        "update submission set status = 'review_requested' where id = 7",
        "insert into achievement (id, user_id, title, description, points, badge_url) values (4, 1, 'First', 'One handed in', 10, null)",
    ] {
        world.db.exec(sql).await;
    }
    golden("dashboard", &take(&mut dashboard, 2).await);
    golden("mentor", &take(&mut mentor, 2).await);
    golden("student", &take(&mut student, 3).await);
    // Bob hears of his own only; a dashboard shows whatever it is sent.
    world.db.exec("select rowcast.send('dashboard', 'dashboard_update', '{\"n\": 1}'), rowcast.send('student:2', 'grade_received', '{\"score\": 1}')").await;
    golden("dashboard_update", &take(&mut dashboard, 1).await);
    assert_eq!(bob.next().await.raw, r#"{"type":"grade_received","grade":{"score":1}}"#);
    world.server.stop().await;
}

#[tokio::test]
async fn ping_is_echoed_whatever_it_holds() {
    let world = world("").await;
    let mut client = world.connect("/ws/dashboard", Some(6)).await;
    golden("dashboard_hello", &take(&mut client, 1).await);
    for (said, echo) in [
        (json!({"type": "ping", "timestamp": 1_700_000_000_000_i64}), "1700000000000"),
        (json!({"type": "ping", "timestamp": "x\"y"}), r#""x\"y""#),
        (json!({"type": "ping", "timestamp": {"a": [1]}}), r#"{"a":[1]}"#),
        (json!({"type": "ping"}), "null"),
    ] {
        client.send(said).await;
        assert_eq!(client.next().await.raw, format!(r#"{{"type":"pong","timestamp":{echo}}}"#));
    }
    world.server.stop().await;
}

#[tokio::test]
async fn notifications_are_counted_told_and_read() {
    let world = world("").await;
    let write = async |id: i64, to: i64| {
        let sql = format!(
            "insert into notification (id, recipient_id, type, title, message) values ({id}, {to}, 'grade', 'Essay', 'Was graded: {id}')"
        );
        world.db.exec(&sql).await;
    };
    for (id, to) in [(1, 1), (2, 1), (3, 2)] {
        write(id, to).await;
    }
    let mut client = world.connect("/ws/notifications/", Some(1)).await;
    golden("notifications_hello", &take(&mut client, 1).await);
    write(4, 2).await;
    write(5, 1).await;
    golden("notification", &take(&mut client, 1).await);
    // Another's, none, and no number: nothing happens, and nothing breaks.
    for n in [json!(1), json!("5"), json!(3), json!(99), json!("x"), json!(null), json!({}), json!([1])] {
        client.send(json!({"type": "mark_read", "notification_id": n})).await;
    }
    client.send(json!({"type": "mark_read"})).await;
    survives_nonsense(&mut client, None).await;
    assert_eq!(
        world.db.text("select string_agg(id::text, ',' order by id) from notification where is_read").await,
        "1,5"
    );
    let mut again = world.connect("/ws/notifications", Some(1)).await;
    assert_eq!(again.next().await.raw, r#"{"type":"connection_established","unread_count":1}"#);
    world.server.stop().await;
}

#[tokio::test]
async fn the_leaderboard_comes_at_once_and_when_it_changes() {
    let world = world("").await;
    world.db.exec("insert into leaderboard_entry (user_id, points) values (1, 120), (2, 115)").await;
    let mut client = world.connect("/ws/leaderboard/", Some(2)).await;
    golden("leaderboard", &take(&mut client, 1).await);
    world.db.exec("update leaderboard_entry set points = points + 5 where user_id = 2").await;
    golden("leaderboard_changed", &take(&mut client, 1).await);
    world.server.stop().await;
}

/// What was missed cannot be shown to them: they are told by being closed, and are counted to when they come again.
#[tokio::test]
async fn a_new_stream_is_no_silence_to_those_who_are_shown_no_content() {
    let world = world("").await;
    for (path, user) in [("/ws/notifications/", 1), ("/ws/dashboard/", 6), ("/ws/mentor/3/", 3), ("/ws/student/1/", 1)]
    {
        let mut client = world.connect(path, Some(user)).await;
        if !path.contains("/3/") && !path.contains("/1/") {
            client.next().await;
        }
        world.db.exec("select rowcast.reset()").await;
        let closed = client.expect_close().await;
        assert_eq!((closed.code, &*closed.reason), (1012, "stream_restarted"), "{path}");
    }
    let mut board = world.connect("/ws/leaderboard/", Some(2)).await;
    let first = board.next().await.raw;
    world.db.exec("select rowcast.reset()").await;
    assert_eq!(board.next().await.raw, first, "content is shown anew");
    world.server.stop().await;
}
