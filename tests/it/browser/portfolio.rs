use super::{LIVE, cdp, demo, fits_a_phone};
use crate::kit::TestDb;

/// Worth a value that nothing else would give.
async fn price(db: &TestDb<'_>, price: u32) {
    // The walk of the demo would move it on before it is seen.
    db.exec(&format!(
        "insert into asset_price (symbol, name, price, previous_close) values ('GEM', 'Gem', {price}, {price}) \
         on conflict (symbol) do update set price = {price}, previous_close = {price}"
    ))
    .await;
}

fn value_of(symbol: &str) -> String {
    format!(
        "[...document.querySelectorAll('#investments tr')].find((r) => r.textContent.includes('{symbol}'))\
         .querySelector('.value').textContent"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_reach_the_page_until_they_are_stopped() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    price(&db, 1000).await;
    db.exec("insert into investment (portfolio_id, symbol, quantity, purchase_price) values (1, 'GEM', 1000, 1)").await;
    page.goto(&server.http("/live-portfolio")).await;
    page.until(LIVE).await;
    page.until(&format!("{} === '1,000,000.00'", value_of("GEM"))).await;
    assert_eq!(page.text("#name").await, "Sample Portfolio");
    // Its history is there before anything moves, and can be read with the keyboard.
    page.until("document.querySelector('#chart .line').getAttribute('d').split('L').length > 10").await;
    page.eval("document.querySelector('#chart svg').focus()").await;
    page.press("Home").await;
    page.until("/: [\\d,]+\\.\\d\\d$/.test(document.querySelectorAll('#chart figcaption span')[1].textContent)").await;

    // Stopped: what changes is not shown until it is asked for again.
    page.eval("document.querySelector('#stop').click()").await;
    page.until("document.querySelector('#running').textContent === 'Updates are stopped.'").await;
    assert_eq!(page.eval("document.querySelector('#stop').disabled").await, true);
    price(&db, 2000).await;
    // An answer to a question comes on the same socket, after what could have come before it.
    let frames = "document.querySelector('.debug .messages').textContent";
    page.eval("document.querySelector('#debug').open = true").await;
    page.until(&format!("{frames} !== ''")).await;
    assert_eq!(page.eval(&value_of("GEM")).await, "1,000,000.00");
    page.eval("document.querySelector('#start').click()").await;
    page.until(&format!("{} === '2,000,000.00'", value_of("GEM"))).await;
    page.until("document.querySelector('#running').textContent === 'Updates run.'").await;

    // The debug panel: where, how, how much, and nothing secret.
    let shown = page.text("#debug").await;
    let url = format!("{}/ws/portfolio/", server.url.replacen("http", "ws", 1));
    assert!(shown.contains(&url) && shown.contains("price_update") && shown.contains("errors0"), "{shown}");
    assert!(!shown.contains('?'), "{shown}");
    fits_a_phone(&mut page).await;
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_has_their_own_portfolio() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let mut server = demo(&db, "127.0.0.1:0").await;
    page.goto(&server.http("/live-portfolio")).await;
    page.until("document.querySelector('#name').textContent === 'Sample Portfolio'").await;
    page.eval("{ who.value = 'alice'; who.dispatchEvent(new Event('change')) }").await;
    page.until("document.querySelector('#name').textContent === \"Alice's savings\"").await;
    assert!(page.text("#investments").await.contains("BTC"));
    // Her token is in no address that the page shows.
    page.eval("document.querySelector('#debug').open = true").await;
    page.until("document.querySelector('.debug .state').textContent === 'live'").await;
    assert!(!page.text("#debug").await.contains("token"));

    // Stopped stays stopped, over a restart of the server.
    page.eval("document.querySelector('#stop').click()").await;
    server.kill9().await;
    page.until("document.querySelector('#phase').textContent === 'reconnecting'").await;
    page.until("Number(document.querySelector('.debug .errors').textContent) > 0").await;
    assert_eq!(page.eval("document.body.hasAttribute('data-stale')").await, true);
    // The same address and the same key again.
    let address = server.url.trim_start_matches("http://").to_owned();
    let _server = super::demo(&db, &address).await;
    page.until(LIVE).await;
    page.until("document.querySelector('#running').textContent === 'Updates are stopped.'").await;
}
