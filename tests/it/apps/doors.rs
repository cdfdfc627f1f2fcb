//! Who may come in: endpoint by person, before the upgrade and after it.

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{World, token, world};
use crate::kit::ws::Client;

const NOBODY: i64 = 0;
const PEOPLE: [(&str, i64); 8] =
    [("nobody", NOBODY), ("alice", 1), ("mia", 3), ("max", 4), ("carl", 5), ("ada", 6), ("fay", 7), ("stan", 8)];

/// One column per person of `PEOPLE`.
const MATRIX: [(&str, [u16; 8]); 14] = [
    ("/ws/portfolio/", [101, 101, 404, 404, 404, 404, 404, 404]),
    ("/ws/orders/123/", [401, 403, 403, 101, 101, 101, 403, 101]),
    ("/ws/orders/124/", [401, 403, 403, 403, 101, 403, 403, 101]),
    ("/ws/orders/999/", [401, 403, 403, 403, 403, 403, 403, 404]),
    ("/ws/orders/0123/", [401, 404, 404, 404, 404, 404, 404, 404]),
    ("/ws/orders/x/", [401, 404, 404, 404, 404, 404, 404, 404]),
    ("/ws/orders/9223372036854775808", [401, 404, 404, 404, 404, 404, 404, 404]),
    ("/ws/orders/%20123/", [401, 404, 404, 404, 404, 404, 404, 404]),
    ("/ws/dashboard/", [401, 403, 101, 403, 403, 101, 101, 101]),
    ("/ws/notifications/", [401, 101, 101, 101, 101, 101, 101, 101]),
    ("/ws/leaderboard/", [401, 101, 101, 101, 101, 101, 101, 101]),
    ("/ws/mentor/3/", [401, 403, 101, 403, 403, 403, 403, 101]),
    ("/ws/student/1/", [401, 101, 403, 403, 403, 403, 403, 101]),
    ("/ws/student/01", [401, 404, 404, 404, 404, 404, 404, 404]),
];

const GROUND: &str = "
    insert into game_order (id, customer_id, booster_id, manager_id) values (123, 5, 4, 6), (124, 5, null, null);
    insert into portfolio (id, user_id, name) values (1, null, 'Sample'), (2, 1, 'Savings');";

async fn status(url: &str) -> u16 {
    match Client::try_connect(url).await {
        Ok(client) => client.response.status().as_u16(),
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{url}: {other}"),
    }
}

fn user(id: i64) -> Option<i64> {
    (id != NOBODY).then_some(id)
}

#[tokio::test]
async fn who_may_come_in_is_told_before_the_upgrade() {
    let world = world("").await;
    world.db.exec(GROUND).await;
    let mut wrong = Vec::new();
    for (path, wants) in MATRIX {
        for ((name, id), want) in PEOPLE.into_iter().zip(wants) {
            let got = status(&world.url(path, user(id))).await;
            if got != want {
                wrong.push(format!("{name} at {path}: {got} instead of {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A deactivated user and a broken token are nobody's; rules that change hold for the next one.
    assert_eq!(status(&world.url("/ws/leaderboard/", Some(9))).await, 401);
    assert_eq!(status(&format!("{}?token=x.y.z", world.url("/ws/leaderboard/", None))).await, 401);
    world.db.exec("update user_profile set role = 'MENTOR' where user_id = 1; update game_order set customer_id = 1 where id = 124").await;
    assert_eq!(status(&world.url("/ws/dashboard/", Some(1))).await, 101);
    assert_eq!(status(&world.url("/ws/orders/124/", Some(5))).await, 403);
    world.server.stop().await;
}

async fn close_code(world: &World, path: &str, id: i64) -> u16 {
    let mut client = world.connect(path, user(id)).await;
    match client.next_or_close().await {
        Ok(_) => 101,
        Err(closed) => closed.code,
    }
}

#[tokio::test]
async fn who_may_not_is_told_by_a_close_code_where_that_is_wanted() {
    let reject: String = ["orders", "dashboard", "leaderboard", "notifications"]
        .map(|name| format!("[{name}]\nreject = \"close\"\n"))
        .concat();
    let world = world(&reject).await;
    world.db.exec(GROUND).await;
    for (path, id, code) in [
        ("/ws/orders/123/", NOBODY, 4401),
        ("/ws/orders/123/", 1, 4403),
        ("/ws/orders/999/", 8, 4404),
        ("/ws/orders/0123/", 5, 4404),
        ("/ws/orders/123/", 5, 101),
        ("/ws/dashboard/", 1, 4403),
        ("/ws/dashboard/", 3, 101),
        ("/ws/leaderboard/", NOBODY, 4401),
        ("/ws/leaderboard/", 9, 4401),
        ("/ws/notifications/", 1, 101),
    ] {
        assert_eq!(close_code(&world, path, id).await, code, "{id} at {path}");
    }
    let mut client = Client::connect(&format!("{}?token=x.y.z", world.url("/ws/leaderboard/", None))).await;
    assert_eq!(client.expect_close().await.code, 4401);
    world.server.stop().await;
}

/// A browser cannot set headers, and gives up a connection of which none of its subprotocols is chosen.
#[tokio::test]
async fn a_token_comes_as_a_subprotocol_of_which_one_is_chosen() {
    let world = world("").await;
    let mut request = world.url("/ws/leaderboard/", None).into_client_request().expect("a request");
    let offered = format!("rowcast.v1, bearer.{}", token(2));
    request.headers_mut().insert("sec-websocket-protocol", offered.parse().expect("a value"));
    let mut client = Client::try_connect(request).await.expect("let in");
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "rowcast.v1");
    assert_eq!(client.next().await.str_of("type"), "leaderboard_update");
    world.server.stop().await;
}
