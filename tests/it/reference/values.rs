use super::untimed;
use crate::kit::TestDb;

/// The message of an order that was made with these columns and changed by this statement.
#[tokio::test]
async fn each_field_has_its_shape() {
    let db = TestDb::reference().await;
    let cases = [
        ("actual_price", "0.1", "actual_price", r#""0.10""#),
        ("actual_price", "1234567890.5", "actual_price", r#""1234567890.50""#),
        ("actual_price", "0.005", "actual_price", r#""0.01""#),
        ("actual_price", "7", "booster_price", r#""7.00""#),
        ("booster_price", "0", "booster_price", r#""0.00""#),
        ("progress", "null", "progress", "0"),
        ("is_done", "true", "progress", "100"),
        ("status", "'Done'", "progress", "100"),
        ("status", "'Droped'", "status", r#""Droped""#),
        ("booster_id", "6", "booster_id", "6"),
        ("booster_id", "6", "booster_username", r#""ada""#),
        ("message", r#"E'"quoted"\n'"#, "message", r#""\"quoted\"\n""#),
        ("message", "''", "message", r#""Order updated""#),
        ("updated_at", "'2024-01-15T11:30:00+01:00'", "timestamp", r#""2024-01-15T10:30:00Z""#),
        ("updated_at", "'2024-01-15T10:30:00.25Z'", "timestamp", r#""2024-01-15T10:30:00.250000Z""#),
    ];
    for (column, value, key, expected) in cases {
        let id = db.text(&format!("insert into game_order ({column}) values ({value}) returning id::text")).await;
        let shown = db.text(&format!("select (rowcast_reference.order_update({id}) -> '{key}')::text")).await;
        assert_eq!(shown, expected, "{column} = {value}");
    }
    for (column, value) in
        [("actual_price", "'NaN'"), ("actual_price", "-1"), ("progress", "101"), ("status", "'Dropped'")]
    {
        let refused = db.try_exec(&format!("insert into game_order ({column}) values ({value})")).await;
        assert!(refused.is_err(), "{column} = {value}");
    }
}

#[tokio::test]
async fn the_learning_platforms_objects_have_their_keys() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into submission (student_id, assignment_title, grade, feedback, graded_by_id) values (1, 'Essay', 92.50, 'Good', 3), (2, 'Essay', null, null, null);
         insert into achievement (user_id, title, points) values (1, 'First', 10);
         insert into notification (recipient_id, title, message) values (1, 'Hi', 'there')",
    )
    .await;
    let cases = [
        (
            "submission(1)",
            r#"{"id":1,"submission_id":1,"student_id":1,"student_name":"Alice Ahlgren","assignment_title":"Essay","status":"graded","submitted_at":"T"}"#,
        ),
        (
            "submission(2)",
            r#"{"id":2,"submission_id":2,"student_id":2,"student_name":"bob","assignment_title":"Essay","status":"submitted","submitted_at":"T"}"#,
        ),
        (
            "grade(1)",
            r#"{"submission_id":1,"student_id":1,"student_name":"Alice Ahlgren","assignment":"Essay","score":92.5,"feedback":"Good","graded_by":"Mia Moreau","graded_at":"T"}"#,
        ),
        (
            "feedback(1)",
            r#"{"submission_id":1,"assignment":"Essay","feedback":"Good","graded_by":"Mia Moreau","score":92.5}"#,
        ),
        (
            "review_request(2)",
            r#"{"id":2,"submission_id":2,"student_id":2,"student_name":"bob","assignment_title":"Essay","submitted_at":"T"}"#,
        ),
        ("achievement(1)", r#"{"id":1,"title":"First","description":"","points":10,"badge_url":null}"#),
        (
            "notification(1)",
            r#"{"id":1,"type":"general","title":"Hi","message":"there","priority":"normal","action_url":null,"is_read":false,"created_at":"T"}"#,
        ),
        ("leaderboard()", r#"[{"rank":1,"user_id":1,"name":"Alice Ahlgren","points":10}]"#),
        ("leaderboard(0)", "[]"),
    ];
    for (call, expected) in cases {
        assert_eq!(untimed(&db.text(&format!("select rowcast_reference.{call}::text")).await), expected, "{call}");
    }
}

#[tokio::test]
async fn a_portfolio_is_all_numbers_and_exact() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into asset_price (symbol, name, price, previous_close) values ('AAPL', 'Apple Inc.', 175.5, 173), ('NEW', '', 5, 0), ('TINY', 'Tiny', 0.000001, 0.000002);
         insert into portfolio (user_id, name) values (1, 'Mine'), (null, 'Empty');
         insert into investment (portfolio_id, symbol, quantity, purchase_price)
           values (1, 'AAPL', 100, 150), (1, 'GONE', 1.5, 200), (1, 'NEW', 3, 4), (1, 'TINY', 123456789012.123456, 1)",
    )
    .await;
    let whole = r#"{"portfolio_id":1,"portfolio_name":"Mine","total_value":141321.79,"total_change":-123191.79,"total_change_percent":-46.57,"investments":[{"symbol":"AAPL","name":"Apple Inc.","current_price":175.50,"change":2.50,"change_percent":1.45,"quantity":100,"value":17550.00},{"symbol":"GONE","name":"GONE","current_price":200.00,"change":0.00,"change_percent":0.00,"quantity":1.5,"value":300.00},{"symbol":"NEW","name":"NEW","current_price":5.00,"change":5.00,"change_percent":0.00,"quantity":3,"value":15.00},{"symbol":"TINY","name":"Tiny","current_price":0.00,"change":0.00,"change_percent":-50.00,"quantity":123456789012.123456,"value":123456.79}]}"#;
    let empty = r#"{"portfolio_id":2,"portfolio_name":"Empty","total_value":0.00,"total_change":0.00,"total_change_percent":0.00,"investments":[]}"#;
    for (id, expected) in [(1, whole), (2, empty)] {
        assert_eq!(db.text(&format!("select rowcast_reference.portfolio_data({id})::text")).await, expected);
    }
}
