use super::{LIVE, cdp, demo, fits_a_phone};
use crate::kit::{TestDb, http_client, wait_until, ws};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_shows_all_demos_over_one_connection() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    page.goto(&server.http("/")).await;
    page.until(LIVE).await;
    page.until("document.querySelector('#rates').textContent === '60 pairs'").await;
    page.until("/^order 2, /.test(document.querySelector('#order-more').textContent)").await;
    page.until("/^leads with /.test(document.querySelector('#learning-more').textContent)").await;
    page.until("document.querySelector('#connections').textContent === '1 open'").await;
    let shown = "document.querySelector('#portfolio').textContent === '7,000.00'";
    let rich = db.exec(
        "delete from investment where portfolio_id = 1; \
         insert into asset_price (symbol, price, previous_close) values ('GEM', 7, 7); \
         insert into investment (portfolio_id, symbol, quantity, purchase_price) values (1, 'GEM', 1000, 7)",
    );
    tokio::join!(page.until(shown), rich);

    // Every page is linked from here, and says which it is.
    let links = page.eval("[...document.querySelectorAll('nav a')].map((a) => a.pathname).join(' ')").await;
    assert_eq!(links, "/rates /live-portfolio /order /learning /connections");
    for path in links.as_str().expect("a text").split(' ') {
        page.goto(&server.http(path)).await;
        assert_eq!(page.eval("document.querySelector('nav [aria-current]').pathname").await, path);
    }
    page.goto(&server.http("/")).await;
    page.until(LIVE).await;
    fits_a_phone(&mut page).await;
    assert_eq!(page.complaints, Vec::<String>::new());
}

/// Browsers keep a page for the way back: it must not stay connected there, and must be live again when it is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_was_left_is_not_connected_and_comes_back() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    let open = async |want: &str| {
        let metrics = http_client().get(server.http("/metrics")).send().await.expect("an answer");
        let text = metrics.text().await.expect("a text");
        text.lines().any(|line| line.strip_prefix("rowcast_hub_connections ") == Some(want))
    };
    page.goto(&server.http("/rates")).await;
    page.until(LIVE).await;
    page.eval("window.kept = true").await;
    page.goto(&server.http("/connections")).await;
    wait_until("nobody is connected", async || open("0.0").await).await;
    page.eval("history.back()").await;
    page.until("location.pathname === '/rates' && window.kept").await;
    page.until(LIVE).await;
    wait_until("it is connected again", async || open("1.0").await).await;
    page.until("document.querySelectorAll('#pairs li').length === 60").await;

    // All of the row of pages can be seen on a phone.
    page.resize(375, 700).await;
    assert_eq!(page.eval("((n) => n.scrollWidth <= n.clientWidth)(document.querySelector('nav'))").await, true);
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted_by_channel() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let mut server = demo(&db, "127.0.0.1:0").await;
    let mut client = ws::Client::connect(&server.ws("/ws")).await;
    client.send(serde_json::json!({"type": "subscribe", "channels": ["rates", "order:4"]})).await;
    page.goto(&server.http("/connections")).await;
    page.until("document.querySelector('#phase').textContent === 'answering'").await;
    let tile = |name: &str| format!("document.querySelector('#tile-{name} + .big').textContent");
    page.until(&format!("{} === '1' && {} === '2'", tile("connections"), tile("subscriptions"))).await;
    page.until("[...document.querySelectorAll('#channels tr')].some((r) => r.textContent === 'order:41')").await;
    page.until(&format!("/^[1-9].*\\/s$/.test({})", tile("messages-sent"))).await;
    fits_a_phone(&mut page).await;
    assert_eq!(page.complaints, Vec::<String>::new());

    server.kill9().await;
    page.until("document.querySelector('#phase').textContent === 'reconnecting'").await;
    assert_eq!(page.eval("document.body.hasAttribute('data-stale')").await, true);
}

#[tokio::test]
async fn tokens_are_for_the_demo_alone_and_for_its_accounts() {
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    let ask = async |query: &str, host: Option<&str>| {
        let mut request = http_client().get(server.http(&format!("/demo/token{query}")));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.expect("JSON"))
    };
    let (status, minted) = ask("?user=mia", None).await;
    let token = minted["token"].as_str().expect("a token");
    let mine = http_client().get(server.http("/api/notifications")).bearer_auth(token).send().await.expect("an answer");
    assert_eq!((status, mine.status().as_u16()), (200, 200));
    assert_eq!(ask("?user=root", None).await.0, 404);
    assert_eq!(ask("", None).await.0, 404);
    assert_eq!(ask("?user=mia", Some("rebound.example")).await.0, 421, "not even asked by this name");
    let key = std::fs::metadata(server.dir().join(".rowcast/secret_key")).expect("the key");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}
