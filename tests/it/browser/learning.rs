use super::{LIVE, cdp, demo, fits_a_phone};
use crate::kit::TestDb;

/// In the pages `a` and `b` of two people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_in_is_graded_and_seen_by_both() {
    let (Some(mut alice), Some(mut mia)) = (cdp::page().await, cdp::page().await) else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    alice.goto(&server.http("/learning?as=alice")).await;
    mia.goto(&server.http("/learning?as=mia")).await;
    alice.until(LIVE).await;
    mia.until(LIVE).await;
    assert_eq!(alice.eval("document.querySelector('#dashboard').hidden").await, true);
    alice.until("document.querySelectorAll('#submissions li').length > 1").await;

    alice
        .eval(
            "{ document.querySelector('#assignment').value = 'Proof by browser'; \
             document.querySelector('#hand-in').requestSubmit() }",
        )
        .await;
    alice.until("document.querySelector('#submissions').textContent.includes('Proof by browser')").await;
    let handed_in = "Alice Ahlgren handed in “Proof by browser”";
    for feed in ["#dashboard", "#own"] {
        mia.until(&format!("document.querySelector('{feed} .feed').textContent.includes('{handed_in}')")).await;
    }

    let form = "[...document.querySelectorAll('#submissions li')]\
                .find((i) => i.textContent.includes('Proof by browser')).querySelector('form')";
    mia.until(&format!("{form} !== null")).await;
    mia.eval(&format!("{{ const f = {form}; f.querySelector('input').value = '88.5'; f.requestSubmit() }}")).await;
    alice.until("document.querySelector('#own .feed').textContent.includes('“Proof by browser”: 88.5')").await;
    mia.until("document.querySelector('#dashboard .feed').textContent.includes('“Proof by browser” was graded: 88.5')")
        .await;
    fits_a_phone(&mut mia).await;
    assert_eq!((&alice.complaints, &mia.complaints), (&Vec::new(), &Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_read_and_points_counted() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let server = demo(&db, "127.0.0.1:0").await;
    // Carl has none of his own, and the demo sends him none.
    page.goto(&server.http("/learning?as=bob")).await;
    page.until(LIVE).await;
    let insert = "insert into notification (id, recipient_id, title, message) \
                  values (900001, 2, 'By hand', 'from psql')";
    let there = "document.querySelector('#notification-900001 button') !== null \
                 && / unread$/.test(document.querySelector('#unread').textContent)";
    tokio::join!(page.until(there), db.exec(insert));
    page.eval("document.querySelector('#notification-900001 button').focus()").await;
    page.press("Enter").await;
    page.until("!document.querySelector('#notification-900001').hasAttribute('data-unread')").await;
    let read = async || db.text("select is_read::text from notification where id = 900001").await == "true";
    crate::kit::wait_until("it is read", read).await;

    // The whole board moves: Bob overtakes.
    let first = "document.querySelector('#leaderboard li').textContent.includes('Bob Brandt9,001 points') \
                 || document.querySelector('#leaderboard li').textContent.includes('Bob Brandt9001 points')";
    let points = db.exec("update leaderboard_entry set points = 9001 where user_id = 2");
    tokio::join!(page.until(first), points);
    assert_eq!(page.eval("document.querySelector('#leaderboard li').hasAttribute('data-me')").await, true);
    fits_a_phone(&mut page).await;
    assert_eq!(page.complaints, Vec::<String>::new());
}
