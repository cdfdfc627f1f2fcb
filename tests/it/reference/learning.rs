use serde_json::{Value, json};

use super::{listen, told};
use crate::kit::{Server, TestDb};

const SUBMISSION: &str =
    r#"{"id":1,"submission_id":1,"student_id":1,"student_name":"Alice Ahlgren","assignment_title":"Essay","status":"#;

/// In their order: what a statement does, and what dashboard, mentor and student hear of it.
#[tokio::test]
async fn each_change_of_a_submission_is_told_to_whom_it_concerns() {
    let db = TestDb::reference().await;
    let server = Server::start(&db).await;
    let (mut client, shown) = listen(&server, &["dashboard", "mentor:3", "student:1", "student:2", "mentor:6"]).await;
    assert_eq!(shown, ["[]"; 5]);
    let created = format!(r#"{SUBMISSION}"submitted","submitted_at":"T"}}"#);
    let grade = |score: &str, feedback: &str, at: &str| {
        format!(
            r#"{{"submission_id":1,"student_id":1,"student_name":"Alice Ahlgren","assignment":"Essay","score":{score},"feedback":{feedback},"graded_by":"Mia Moreau","graded_at":{at}}}"#
        )
    };
    let graded = |score: &str, feedback: &str| {
        let grade = grade(score, feedback, "\"T\"");
        vec![format!("dashboard grade_updated {grade}"), format!("student:1 grade_received {grade}")]
    };
    let feedback = |words: &str| {
        vec![format!(
            r#"student:1 feedback_received {{"submission_id":1,"assignment":"Essay","feedback":"{words}","graded_by":"Mia Moreau","score":95}}"#
        )]
    };
    let cases = [
        (
            "insert into submission (student_id, assignment_title) values (1, 'Essay')",
            vec![format!("dashboard submission_created {created}"), format!("mentor:3 student_submission {created}")],
        ),
        ("update submission set status = 'submitted', assignment_title = 'Essay'", vec![]),
        ("update submission set grade = 92.50, graded_by_id = 3", graded("92.5", "null")),
        ("update submission set grade = 92.5", vec![]),
        ("update submission set grade = 95, feedback = 'Good'", graded("95", "\"Good\"")),
        ("update submission set feedback = 'Very good'", feedback("Very good")),
        ("update submission set feedback = ''", vec![]),
        // Several in one transaction, in their order; and none of one that was rolled back.
        (
            "begin; update submission set feedback = 'a'; savepoint s; update submission set feedback = 'no', grade = 1; rollback to s; \
             update submission set feedback = 'b'; commit",
            [feedback("a"), feedback("b")].concat(),
        ),
        ("begin; update submission set grade = 1; delete from submission; rollback", vec![]),
        (
            "update submission set status = 'review_requested'",
            vec![
                r#"mentor:3 review_request {"id":1,"submission_id":1,"student_id":1,"student_name":"Alice Ahlgren","assignment_title":"Essay","submitted_at":"T"}"#.into(),
            ],
        ),
        // Taken back: the dashboard must know, the student received none.
        ("update submission set grade = null", vec![format!("dashboard grade_updated {}", grade("null", "\"b\"", "null"))]),
        ("delete from submission", vec![]),
    ];
    for (sql, expected) in cases {
        assert_eq!(told(&db, &mut client, "dashboard", sql).await, expected, "{sql}");
    }

    // The mentor of the moment; a student without one; a submission that comes with its grade.
    db.exec("update user_profile set assigned_mentor_id = 6 where user_id = 1").await;
    let sql = "insert into submission (student_id, assignment_title, grade) values (1, 'A', 50), (2, 'B', null)";
    let heard: Vec<_> = told(&db, &mut client, "dashboard", sql).await;
    let heads: Vec<_> = heard.iter().map(|line| line.split(" {").next().unwrap_or_default()).collect();
    let expected = [
        "dashboard submission_created",
        "mentor:6 student_submission",
        "dashboard grade_updated",
        "student:1 grade_received",
        "dashboard submission_created",
    ];
    assert_eq!(heads, expected);
    server.stop().await;
}

#[tokio::test]
async fn graded_at_and_status_follow_the_grade() {
    let db = TestDb::reference().await;
    let row = "select status || ' ' || (graded_at is not null) from submission";
    let updated_at = "select to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US') from submission";
    let mut before = String::new();
    let cases = [
        ("insert into submission (student_id, assignment_title) values (1, 'Essay')", "submitted false"),
        ("update submission set grade = 1", "graded true"),
        ("update submission set grade = null", "submitted false"),
        ("update submission set grade = 1, status = 'review_requested'", "review_requested true"),
        ("update submission set grade = 2, graded_at = '2020-01-01'", "graded true"),
    ];
    for (sql, expected) in cases {
        db.exec(sql).await;
        assert_eq!(db.text(row).await, expected, "{sql}");
        let updated = db.text(updated_at).await;
        assert!(updated > before, "{sql}: {updated} after {before}");
        before = updated;
    }
    assert_eq!(db.text("select extract(year from graded_at)::int::text from submission").await, "2020");
}

#[tokio::test]
async fn a_thousand_grades_of_one_statement_arrive_once_each() {
    let db = TestDb::reference().await;
    db.exec("insert into submission (student_id, assignment_title) select 1 + n % 2, 'E' || n from generate_series(1, 1000) n").await;
    let server = Server::start(&db).await;
    let (mut client, _) = listen(&server, &["dashboard", "student:1"]).await;
    let heard = told(&db, &mut client, "dashboard", "update submission set grade = id % 100, feedback = 'x'").await;
    let of =
        |head: &str| heard.iter().filter(|line| line.starts_with(head)).collect::<std::collections::HashSet<_>>().len();
    assert_eq!((heard.len(), of("dashboard grade_updated"), of("student:1 grade_received")), (1500, 1000, 500));
    server.stop().await;
}

#[tokio::test]
async fn notifications_go_to_their_recipient_alone() {
    let db = TestDb::reference().await;
    let server = Server::start(&db).await;
    let (mut client, _) = listen(&server, &["notifications:1", "dashboard"]).await;
    let sql = "insert into notification (recipient_id, sender_id, type, title, message) values (1, 3, 'grade', 'Graded', 'See'), (2, 3, 'grade', 'Graded', 'See')";
    let heard = told(&db, &mut client, "dashboard", sql).await;
    let expected = r#"notifications:1 notification {"id":1,"type":"grade","title":"Graded","message":"See","priority":"normal","action_url":null,"is_read":false,"created_at":"T"}"#;
    assert_eq!(heard, [expected]);
    let silent = "select rowcast_reference.mark_read('1', 1); delete from notification";
    assert_eq!(told(&db, &mut client, "dashboard", silent).await, [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn achievements_are_told_and_counted() {
    let db = TestDb::reference().await;
    let server = Server::start(&db).await;
    let (mut client, _) = listen(&server, &["student:1"]).await;
    let sql = "insert into achievement (user_id, title, points, badge_url) values (1, 'First', 10, '/b.svg'), (2, 'First', 0, null)";
    let expected =
        r#"student:1 achievement_unlocked {"id":1,"title":"First","description":"","points":10,"badge_url":"/b.svg"}"#;
    assert_eq!(told(&db, &mut client, "student:1", sql).await, [expected]);
    let points =
        "select coalesce(string_agg(user_id || ':' || points, ' ' order by user_id), '') from leaderboard_entry";
    let cases = [
        ("update leaderboard_entry set points = points + 5", "1:15"),
        ("update achievement set points = 12 where user_id = 1", "1:17"),
        ("update achievement set user_id = 2 where user_id = 1", "1:5 2:12"),
        ("begin; delete from achievement; rollback", "1:5 2:12"),
        ("delete from achievement", "1:5 2:0"),
        (
            "insert into achievement (user_id, title, points) select 1 + n % 2, 'x', 1 from generate_series(1, 1000) n",
            "1:505 2:500",
        ),
        ("delete from auth_user where id = 1", "2:500"),
    ];
    for (sql, expected) in cases {
        db.exec(sql).await;
        assert_eq!(db.text(points).await, expected, "{sql}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_leaderboard_is_coalesced_and_sent_when_it_changed() {
    let db = TestDb::reference().await;
    db.exec("insert into leaderboard_entry (user_id, points) values (1, 10), (2, 10), (3, 5)").await;
    let server = Server::start(&db).await;
    let (mut client, shown) = listen(&server, &["leaderboard"]).await;
    let tie = r#"[{"rank":1,"user_id":1,"name":"Alice Ahlgren","points":10},{"rank":1,"user_id":2,"name":"bob","points":10},{"rank":3,"user_id":3,"name":"Mia Moreau","points":5}]"#;
    assert_eq!(shown, [tie]);
    for points in 11..=60 {
        db.exec(&format!("update leaderboard_entry set points = {points} where user_id = 2")).await;
    }
    let mut messages = 0;
    loop {
        messages += 1;
        let frame = client.next_of("event").await;
        if frame["data"][0] == json!({"rank": 1, "user_id": 2, "name": "bob", "points": 60}) {
            break;
        }
    }
    assert!(messages <= 10, "50 changes made {messages} messages");
    // What leaves it as it was is no message: the next is a name.
    db.exec("update leaderboard_entry set points = 61 where user_id = 2; update leaderboard_entry set points = 60 where user_id = 2").await;
    db.exec("update auth_user set first_name = 'Bob', last_name = 'Brandt' where id = 2").await;
    let frame = client.next_of("event").await;
    assert_eq!(frame["data"][0]["name"], "Bob Brandt", "{}", frame.raw);
    db.exec("delete from auth_user where id = 2").await;
    assert_eq!(client.next_of("event").await["data"].as_array().map(Vec::len), Some(2));
    db.exec("truncate leaderboard_entry").await;
    assert_eq!(client.next_of("event").await["data"], Value::Array(vec![]));
    server.stop().await;
}
