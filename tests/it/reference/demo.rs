use super::{listen, metric};
use crate::kit::{Binary, Server, TestDb, wait_until};

const COUNTS: &str = "select concat_ws(' ', (select count(*) from auth_user), (select count(*) from game_order), (select count(distinct status) from game_order),
    (select count(*) from submission), (select count(*) from notification), (select count(*) from portfolio))";

#[tokio::test]
async fn it_is_filled_once_moves_and_stays_small() {
    let db = TestDb::new().await;
    db.migrate_reference().await.expect("nothing is in the way");
    for _ in 0..2 {
        db.with_store(async |store| store.install_demo_reference().await).await.expect("filled");
        assert_eq!(db.text(COUNTS).await, "6 5 5 4 3 2");
    }
    let people = "select string_agg(id || username || coalesce(role, '') || staff, ' ' order by id) from rowcast_reference.person";
    assert_eq!(
        db.text(people).await,
        "1aliceSTUDENTfalse 2bobSTUDENTfalse 3miaMENTORfalse 4maxfalse 5carlfalse 6adaADMINtrue"
    );
    assert_eq!(
        db.text("select rowcast_reference.portfolio_of(null) || ' ' || rowcast_reference.portfolio_of('1')").await,
        "1 2"
    );

    let server = Server::start(&db).await;
    let (mut client, _) = listen(&server, &["portfolio:1", "order:2", "dashboard"]).await;
    db.with_store(async |store| {
        for _ in 0..300 {
            store.move_demo_reference().await.expect("moved");
        }
    })
    .await;
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 3 {
        seen.insert(client.next_of("event").await.str_of("channel").to_owned());
    }
    assert_eq!(metric(&server, "rowcast_router_view_errors_total").await, 0);
    server.stop().await;
    let bounded = "select (select count(*) <= 40 from submission) and (select max(n) <= 20 from (select count(*) as n from notification group by recipient_id) x)
        and (select count(*) <= 24 from achievement) and (select count(*) = 5 from game_order) and (select max(points) <= 400 from leaderboard_entry)";
    assert_eq!(db.text(&format!("select ({bounded})::text")).await, "true");
}

#[tokio::test]
async fn it_leaves_other_peoples_users_alone() {
    let db = TestDb::new().await;
    db.migrate_reference().await.expect("nothing is in the way");
    db.exec("insert into auth_user (username) values ('somebody')").await;
    let refused = db.with_store(async |store| store.install_demo_reference().await).await.expect_err("not the demo's");
    assert!(refused.to_string().contains("users that are not the demo's"), "{refused}");
    assert_eq!(db.text(COUNTS).await, "1 0 0 0 0 0");
}

#[tokio::test]
async fn the_demo_itself_brings_it_along() {
    let db = TestDb::bare().await;
    let mut demo =
        Binary::new(&["demo", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).start().ready().await;
    wait_until("prices move", async || {
        db.text("select (max(updated_at) > min(updated_at) + interval '1 second')::text from asset_price").await
            == "true"
    })
    .await;
    demo.signal(libc::SIGINT);
    assert_eq!(demo.ended().await.code(), Some(0));
}
