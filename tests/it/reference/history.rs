use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::kit::TestDb;

const LAST: &str = "select string_agg(order_id || ' ' || part || ' ' || operation || ' ' || changes || ' ' || coalesce(user_id, '-') || ' ' || db_role, e'\\n' order by id)
    from order_history where id > ";

#[tokio::test]
async fn who_changed_what() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into game_order (customer_id) values (5), (5); insert into lol_division_order (order_id) values (1)",
    )
    .await;
    db.exec("insert into order_transaction (user_id, order_id, amount, type) values (5, 1, 10, 'DEPOSIT')").await;
    let claims = |json: &str| {
        format!(
            "begin; set local request.jwt.claims = '{json}'; update game_order set is_done = not is_done where id = 2; commit"
        )
    };
    let cases = [
        (
            "update game_order set status = 'Continue', price = 9.5, updated_at = now() where id = 1".to_owned(),
            r#"1 game_order update {"price": [0.00, 9.50], "status": ["New", "Continue"]} - app"#,
        ),
        ("update game_order set status = status; update game_order set updated_at = now()".into(), ""),
        (
            "update lol_division_order set reached_rank_id = 5".into(),
            r#"1 lol_division_order update {"reached_rank_id": [null, 5]} - app"#,
        ),
        (
            "update order_transaction set order_id = 2".into(),
            "1 order_transaction update {\"order_id\": [1, 2]} - app\n2 order_transaction update {\"order_id\": [1, 2]} - app",
        ),
        ("begin; delete from game_order; rollback".into(), ""),
        (
            "delete from lol_division_order".into(),
            r#"1 lol_division_order delete {"order_id": [1, null], "reached_rank_id": [5, null]} - app"#,
        ),
        (claims(r#"{"sub": "4"}"#), r#"2 game_order update {"is_done": [false, true]} 4 app"#),
        (claims(r#"{"sub": {"#), r#"2 game_order update {"is_done": [true, false]} - app"#),
        (claims("[]"), r#"2 game_order update {"is_done": [false, true]} - app"#),
    ];
    for (sql, expected) in cases {
        let before = db.text("select coalesce(max(id), 0)::text from order_history").await;
        db.exec(&sql).await;
        let seen = db.texts(&format!("{LAST}{before}")).await.remove(0).unwrap_or_default();
        assert_eq!(seen, expected, "{sql}");
    }
}

/// A writer has rights on the orders and on nothing of ours; the history knows the role that he took on.
#[tokio::test]
async fn a_writer_needs_no_right_on_the_history() {
    let db = TestDb::reference().await;
    let role = format!("writer_{}", db.name);
    db.admin_exec(&format!("create role {role} login; grant select, insert, update, delete on game_order, order_transaction, submission, notification, achievement to {role}"))
        .await;
    let mut writer = PgConnection::connect(&db.url_as(&role)).await.expect("a role may log in");
    let all = "insert into game_order (status) values ('New'); update game_order set status = 'Done';
        insert into order_transaction (user_id, order_id, amount, type) values (5, 1, 1, 'DEPOSIT');
        insert into submission (student_id, assignment_title) values (1, 'x'); update submission set grade = 3;
        insert into notification (recipient_id, title, message) values (1, 'a', 'b');
        insert into achievement (user_id, title, points) values (1, 'x', 3)";
    sqlx::raw_sql(AssertSqlSafe(all)).execute(&mut writer).await.expect("its own tables' rights are enough");
    assert_eq!(db.texts("select distinct db_role from order_history").await, [Some(role.clone())]);
    sqlx::raw_sql("select * from order_history").execute(&mut writer).await.expect_err("not granted");
    // The same seen from a session that takes the role on.
    db.admin_exec(&format!("set role {role}; update game_order set status = 'Extend'")).await;
    let last = db.text("select db_role from order_history order by id desc limit 1").await;
    assert_eq!(last, role);
    assert_eq!(db.text("select points::text from leaderboard_entry").await, "3");
    writer.close().await.expect("a session ends");
    db.admin_exec(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn the_history_is_trimmed_by_a_job() {
    let db = TestDb::reference().await;
    db.exec("insert into game_order (status) select 'New' from generate_series(1, 3); update order_history set at = at - interval '400 days' where order_id < 3").await;
    let sql = db.text("select sql from rowcast.job where name = 'reference-order-history'").await;
    db.exec(&sql).await;
    assert_eq!(db.texts("select order_id::text from order_history").await, [Some("3".to_owned())]);
}
