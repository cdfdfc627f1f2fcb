use serde_json::json;

use super::{LIVE, cdp, demo};
use crate::kit::{TestDb, wait_until};

const ALL_THERE: &str = "document.querySelectorAll('#pairs li').length === 60";

fn rate_is(text: &str) -> String {
    format!("document.querySelector('#pair-USD_NGN .rate').textContent === {text:?}")
}

/// By hand, as the demo tells its reader to: the refreshes leave it alone for ten minutes.
async fn set_rate(db: &TestDb<'_>, rate: &str) {
    db.exec(&format!(
        "update rowcast_fx.rates set rate = {rate} where source_currency = 'USD' and destination_currency = 'NGN'"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_in_sql_shows_up_in_the_page() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    page.goto(&server.http("/rates")).await;
    page.until(LIVE).await;
    page.until(ALL_THERE).await;

    // The refreshes of the scheduled job, seen without doing anything.
    page.until("Number(document.querySelector('#messages').textContent) > 5").await;

    // All digits arrive, also those that a float does not have; and not by colour alone.
    let shown = format!(
        "{} && document.querySelector('#pair-USD_NGN .change').textContent.startsWith('▲')",
        rate_is("12 345 678.90123456789012345")
    );
    set_rate(&db, "12345678.90123456789012345").await;
    page.until(&shown).await;
    // Refreshes come and go: it stands, and says why.
    let refreshes =
        async || db.text("select n::text from rowcast_fx.rate_cycle").await.parse::<u32>().expect("a number");
    let before = refreshes().await;
    wait_until("two more refreshes", async || refreshes().await >= before + 2).await;
    assert_eq!(page.eval(&shown).await, true);
    assert!(page.text("#pair-USD_NGN .meta").await.starts_with("low · by hand until "));
    assert_eq!(page.text("#pair-EUR_NGN .meta").await, "low · simulated");

    // What the reader may type is on the page, and holds no address of the database.
    page.until("!document.querySelector('#try').hidden").await;
    assert_eq!(page.text("#psql").await, "psql \"$DATABASE_URL\"");
    assert!(page.text("#update").await.starts_with("update rowcast_fx.rates set rate"));

    // Keyboard: / goes to the filter, Escape empties it.
    for key in ["/", "n", "g", "n"] {
        page.press(key).await;
    }
    let visible = "document.querySelectorAll('#pairs li:not([hidden])').length";
    assert_eq!(page.eval(visible).await, 4);
    assert_eq!(page.text("#shown").await, "4 of 60 pairs");
    page.press("Escape").await;
    assert_eq!(page.eval(visible).await, 60);

    // A small phone, in the dark and without motion: nothing sticks out, nothing moves by itself.
    page.resize(320, 640).await;
    assert_eq!(page.eval("document.documentElement.scrollWidth <= 320").await, true);
    page.prefer("prefers-reduced-motion", "reduce").await;
    let messages = "Number(document.querySelector('#messages').textContent)";
    // What had begun before may end.
    page.until("document.getAnimations().length === 0").await;
    page.until(&format!("(window.seen ??= {messages}) + 10 < {messages}")).await;
    assert_eq!(page.eval("document.getAnimations().length").await, 0);

    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pair_has_a_chart_that_goes_on_from_its_history() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    // Long before anything that the server writes, and outside of what it could reach.
    db.exec(
        "insert into rowcast_fx.rate_history (source_currency, destination_currency, at, rate, confidence) \
         select 'USD', 'NGN', now() - make_interval(days => d), 1000000 + d, 'high' from generate_series(1, 20) d",
    )
    .await;
    page.goto(&server.http("/rates")).await;
    page.until(LIVE).await;
    let line = "document.querySelector('#pair-USD_NGN .chart .line').getAttribute('d').split('L').length";
    page.until(&format!("{line} > 20")).await;
    let label = "document.querySelector('#pair-USD_NGN .chart svg').getAttribute('aria-label')";
    page.until(&format!("{label}.startsWith('NGN for 1 USD: ') && {label}.endsWith('to 1000020')")).await;

    // A change is its last point, with all digits. Others without a history begin with what is seen.
    let last = format!("{label}.endsWith('to 2000000.5')");
    set_rate(&db, "2000000.5").await;
    page.until(&last).await;
    page.until("[...document.querySelectorAll('.chart .line')].filter((l) => l.hasAttribute('d')).length > 3").await;

    // With the keyboard, on a phone, in the dark: the card opens, nothing sticks out.
    page.resize(320, 640).await;
    page.prefer("prefers-color-scheme", "dark").await;
    page.eval("document.querySelector('#pair-USD_NGN .name').focus()").await;
    let height = "document.querySelector('#pair-USD_NGN .chart svg').clientHeight";
    assert_eq!(page.eval(height).await, 26);
    page.press("Enter").await;
    assert_eq!(page.eval(height).await, 180);
    assert_eq!(page.eval("document.activeElement.ariaExpanded").await, "true");
    assert!(page.text("#pair-USD_NGN figcaption").await.contains("high 200"));
    assert_eq!(page.eval("document.documentElement.scrollWidth <= 320").await, true);
    page.press("Enter").await;
    assert_eq!(page.eval(height).await, 26);

    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_that_it_lost_the_server_and_comes_back_by_itself() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let mut server = demo(&db, "127.0.0.1:0").await;
    page.goto(&server.http("/rates")).await;
    page.until(LIVE).await;
    page.until(ALL_THERE).await;

    server.kill9().await;
    page.until("document.querySelector('#phase').textContent === 'reconnecting'").await;
    page.until("document.querySelector('#detail').textContent.includes('no connection')").await;
    assert_eq!(page.eval("document.body.hasAttribute('data-stale')").await, true);

    // Changed while nobody served; the same address again.
    set_rate(&db, "777777.125").await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let _server = demo(&db, &address).await;
    page.until(LIVE).await;
    page.until(&rate_is("777 777.125")).await;
    assert_eq!(page.eval("document.body.hasAttribute('data-stale')").await, false);
    assert_eq!(page.eval("document.querySelectorAll('#pairs li').length").await, json!(60));
}
