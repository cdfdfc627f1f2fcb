use super::{LIVE, cdp, demo, fits_a_phone};
use crate::kit::TestDb;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_followed_with_its_history() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    // Number 3 is one that the demo leaves alone.
    page.goto(&server.http("/order?id=3&as=carl")).await;
    page.until(LIVE).await;
    page.until("document.querySelector('#status').textContent === 'extended'").await;
    assert_eq!(page.text("#percent").await, "90 %");
    assert_eq!(page.text("#message").await, "One day more");

    let done = "document.querySelector('#status').textContent === 'done' \
                && document.querySelector('#percent').textContent === '97 %' \
                && document.querySelector('#facts').textContent.includes('Gold')";
    let change = db.exec(
        "begin; update game_order set status = 'Done', progress = 97 where id = 3; \
         update lol_division_order set reached_rank_id = (select id from lol_rank where rank_name = 'Gold') \
         where order_id = 3; commit",
    );
    tokio::join!(page.until(done), change);
    page.until("/status Extend → Done/.test(document.querySelector('#changes').textContent)").await;
    page.until("document.querySelectorAll('#changes li').length >= 2").await;

    // Another order, by the form and the keyboard; then one that is not Max's to see.
    page.eval("{ const id = document.querySelector('#id'); id.focus(); id.select(); }").await;
    page.press("1").await;
    page.press("Enter").await;
    page.until("location.search.includes('id=1') && document.querySelector('#status').textContent === 'new'").await;
    page.goto(&server.http("/order?id=1&as=max")).await;
    page.until("document.querySelector('#phase').textContent === 'closed'").await;
    page.until("document.querySelector('#notice').textContent.includes('may not see')").await;
    assert_eq!(page.eval("document.querySelector('#order').hidden").await, true);
    page.goto(&server.http("/order?id=3&as=ada")).await;
    page.until("!document.querySelector('#order').hidden").await;
    fits_a_phone(&mut page).await;
    assert_eq!(page.complaints, Vec::<String>::new());
}
