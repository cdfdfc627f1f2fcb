use crate::kit::TestDb;

/// Ids are what a client or a token wrote: whatever it is, there is an answer.
#[tokio::test]
async fn who_may_do_what() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into game_order (customer_id, booster_id, manager_id) values (5, 4, 2), (null, null, null);
         insert into notification (recipient_id, title, message) values (1, 'a', 'b'), (1, 'a', 'b'), (2, 'a', 'b');
         insert into portfolio (user_id, name, is_active) values (1, 'old', false), (1, 'first', true), (1, 'second', true), (null, 'Sample', true);
         insert into auth_user (username, is_staff, is_superuser, is_active) values ('gone', true, true, false), ('root', false, true, true);
         insert into user_profile values (7, 'ADMIN', null);
         insert into game_order (customer_id) values (7)",
    )
    .await;
    let cases = [
        ("order_allowed(1, '5')", "true"),
        ("order_allowed(1, '4')", "true"),
        ("order_allowed(1, '2')", "true"),
        ("order_allowed(1, '6')", "true"),
        ("order_allowed(1, '8')", "true"),
        ("order_allowed(1, '1')", "false"),
        ("order_allowed(2, '5')", "false"),
        ("order_allowed(3, '7')", "false"),
        ("order_allowed(1, null)", "false"),
        ("order_allowed(null::bigint, '5')", "false"),
        ("order_allowed(null::text, '6')", "false"),
        ("order_allowed('1', '5')", "true"),
        ("order_allowed('1; drop', '5')", "false"),
        ("order_allowed('', '6')", "false"),
        ("order_allowed('1', 'b6f7a1c2-0000-0000-0000-000000000005')", "false"),
        ("order_allowed('99999999999999999999', '5')", "false"),
        ("is_staff('6')", "true"),
        ("is_staff('7')", "false"),
        ("is_staff('8')", "true"),
        ("is_staff('ada')", "false"),
        ("is_staff(null)", "false"),
        ("roles('1')", "{STUDENT}"),
        ("roles('3')", "{MENTOR}"),
        ("roles('5')", "{}"),
        ("roles('7')", "{}"),
        ("roles('x')", "{}"),
        ("roles(null)", "{}"),
        ("unread('1')", "2"),
        ("unread('x')", "0"),
        ("unread(null)", "0"),
        ("mark_read('2', 1)", "false"),
        ("mark_read('1', 1)", "true"),
        ("mark_read('1', '1')", "true"),
        ("mark_read('1', 'x')", "false"),
        ("mark_read('x', 2)", "false"),
        ("mark_read(null, 2)", "false"),
        ("mark_read('1', 9)", "false"),
        ("unread('1')", "1"),
        ("unread('2')", "1"),
        ("portfolio_of('1')", "2"),
        ("portfolio_of(null)", "4"),
        ("portfolio_of('x')", "null"),
        ("portfolio_of('5')", "null"),
        ("portfolio_data('x')", "null"),
        ("portfolio_data(9)", "null"),
        ("order_update('x')", "null"),
        ("order_update(9)", "null"),
        ("claim('sub')", "null"),
    ];
    for (call, expected) in cases {
        let query = format!("select coalesce(rowcast_reference.{call}::text, 'null')");
        assert_eq!(db.text(&query).await, expected, "{call}");
    }
    assert_eq!(db.text("select (read_at is not null)::text from notification where id = 1").await, "true");
}
