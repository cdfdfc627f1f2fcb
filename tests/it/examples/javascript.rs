use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::files::Files;
use super::{demo, folder, or_skip, run, token};
use crate::browser::cdp;
use crate::kit::{Binary, TestDb, http_client};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// React and Vue bundled as package.json says, once for all tests; the directory that has `examples/dist`.
async fn bundled() -> Option<PathBuf> {
    static BUNDLED: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    or_skip("npm and its registry", BUNDLED.get_or_init(bundle).await)
}

async fn bundle() -> Result<PathBuf, String> {
    // Kept from run to run: npm then has little to do. Its modules are found upward from the sources, so these are copied.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-npm");
    let copy = root.join("examples");
    for (from, to) in [(folder(), copy.clone()), (Path::new(REPOSITORY).join("pages"), root.join("pages"))] {
        for dir in ["", "react", "vue"] {
            let Ok(entries) = std::fs::read_dir(from.join(dir)) else { continue };
            std::fs::create_dir_all(to.join(dir)).map_err(|e| e.to_string())?;
            for entry in entries.flatten().filter(|e| e.path().is_file()) {
                std::fs::copy(entry.path(), to.join(dir).join(entry.file_name())).map_err(|e| e.to_string())?;
            }
        }
    }
    let npm = |args: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(args).current_dir(&copy);
        npm
    };
    run(&mut npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])).await?;
    // Development's React, which mounts everything twice.
    run(&mut npm(&["run", "build", "--", "--define:process.env.NODE_ENV=\"development\""])).await?;
    Ok(root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vanilla_javascript_follows_a_channel_without_a_build() {
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let demo = demo(&db).await;
    let files = Files::serve(vec![REPOSITORY.into()]).await;
    page.goto(&format!("{}/examples/vanilla/?server={}", files.url, demo.ws(""))).await;
    page.until("document.querySelector('#phase').textContent === 'live'").await;
    page.until("document.querySelectorAll('#rates tr').length === 60").await;
    let shown = "document.querySelector('#USD_NGN').cells[1].textContent === '12345678.90123456789012345'";
    let set = "update rowcast_fx.rates set rate = 12345678.90123456789012345 \
               where source_currency = 'USD' and destination_currency = 'NGN'";
    tokio::join!(page.until(shown), db.exec(set));
    let gone = "document.querySelector('#USD_GHS') === null";
    let delete = "delete from rowcast_fx.rates where source_currency = 'USD' and destination_currency = 'GHS'";
    tokio::join!(page.until(gone), db.exec(delete));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_react_components_follow_the_learning_platform() {
    let Some(root) = bundled().await else { return };
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let demo = demo(&db).await;
    let files = Files::serve(vec![root, REPOSITORY.into()]).await;
    let mia = token(&demo, "mia").await;
    page.goto(&format!("{}/examples/react/?server={}&token={mia}", files.url, demo.ws(""))).await;
    for id in ["notifications", "leaderboard", "dashboard"] {
        page.until(&format!("document.querySelector('#{id}').dataset.phase === 'live'")).await;
    }
    page.until("/^Order 2: /.test(document.querySelector('#order').textContent)").await;
    page.until("document.querySelector('#leaderboard [data-user=\"1\"]').textContent.includes('Alice Ahlgren')").await;
    // StrictMode mounts everything twice: what was opened first has been closed.
    let four = async || {
        let metrics = http_client().get(demo.http("/metrics")).send().await.expect("an answer").text().await;
        metrics.expect("text").lines().any(|line| line.starts_with("rowcast_hub_connections 4"))
    };
    crate::kit::wait_until("four connections are left", four).await;

    let handed_in = "document.querySelector('#dashboard li')?.textContent === 'Alice Ahlgren handed in Hooks'";
    let submit = "insert into submission (id, student_id, assignment_title) values (900001, 1, 'Hooks')";
    tokio::join!(page.until(handed_in), db.exec(submit));
    let graded = "document.querySelector('#dashboard').textContent.includes('Hooks was graded: 77')";
    let grade = "update submission set grade = 77, graded_by_id = 3 where id = 900001";
    tokio::join!(page.until(graded), db.exec(grade));
    let first = "document.querySelector('#leaderboard tr').textContent === '1Bob Brandt9001'";
    tokio::join!(page.until(first), db.exec("update leaderboard_entry set points = 9001 where user_id = 2"));

    let told = "document.querySelector('#notifications li strong')?.textContent === 'By hand' \
                && document.querySelector('.unread').textContent === '1'";
    let notify = "insert into notification (id, recipient_id, title, message) values (900001, 3, 'By hand', 'psql')";
    tokio::join!(page.until(told), db.exec(notify));
    page.eval("document.querySelector('#notifications button').click()").await;
    page.until("document.querySelector('.unread').textContent === '0'").await;
    let read = async || db.text("select is_read::text from notification where id = 900001").await == "true";
    crate::kit::wait_until("it is read", read).await;

    // Who may not see the dashboard is told so, and the rest goes on.
    let alice = token(&demo, "alice").await;
    page.goto(&format!("{}/examples/react/?server={}&token={alice}", files.url, demo.ws(""))).await;
    page.until("document.querySelector('#dashboard').dataset.phase === 'closed'").await;
    page.until("document.querySelector('#leaderboard').dataset.phase === 'live'").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vue_composable_follows_one_order_after_another() {
    let Some(root) = bundled().await else { return };
    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let demo = demo(&db).await;
    let files = Files::serve(vec![root, REPOSITORY.into()]).await;
    let carl = token(&demo, "carl").await;
    page.goto(&format!("{}/examples/vue/?server={}&token={carl}", files.url, demo.ws(""))).await;
    page.until("/^2: .* %$/.test(document.querySelector('#order').textContent)").await;
    page.eval("{ const id = document.querySelector('#id'); id.value = '3'; id.dispatchEvent(new Event('change')) }")
        .await;
    page.until("document.querySelector('#order').textContent === '3: Extend, 90 %'").await;
    let done = "document.querySelector('#order').textContent === '3: Done, 100 %'";
    tokio::join!(page.until(done), db.exec("update game_order set status = 'Done', progress = 100 where id = 3"));
    assert_eq!(page.text("#phase").await.trim(), "live");
}

/// In Node, which has a WebSocket of its own from version 22 on; before, behind a flag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_module_runs_in_node_and_renews_its_token() {
    let Some(flags) = or_skip("Node", &websocket_flags().await) else { return };
    let Some(flags) = flags else {
        eprintln!("SKIPPED: this Node is older than 20.10 and has no WebSocket");
        return;
    };
    let db = TestDb::bare().await;
    // Each token is about to expire: the client is told at once, and asks for a new one.
    let demo = Binary::new(&["demo", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url());
    let demo = demo.env("ROWCAST_AUTH_EXPIRING_LEAD_MS", "86400000").start().ready().await;
    let script = "
        const { connect } = await import(process.argv[1]);
        let asked = 0;
        const token = async () => { asked += 1; return process.argv[3]; };
        const frame = ({ type }) => ['welcome', 'authenticated'].includes(type) && asked <= 2 && console.log(type, asked);
        const client = connect({ url: process.argv[2], token, frame });
        client.subscribe('notifications:1', {
            // The demo notifies by itself, too.
            event: (e) => { if (e.data.title === 'For Node') { console.log(e.data.title); client.close(); } },
        });";
    let alice = token(&demo, "alice").await;
    let module = format!("{REPOSITORY}/pages/rowcast.js");
    let mut node = Command::new("node")
        .args(flags)
        .args(["--no-warnings", "--input-type=module", "-e", script, &module, &demo.ws("/ws"), &alice])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is there");
    let mut said = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(node.stdout.take().expect("piped")));
    for line in ["welcome 1", "authenticated 1", "authenticated 2"] {
        let next = crate::kit::patiently(line, said.next_line()).await;
        assert_eq!(next.expect("read").as_deref(), Some(line));
    }
    db.exec("insert into notification (recipient_id, title, message) values (1, 'For Node', 'psql')").await;
    let title = crate::kit::patiently("the event", said.next_line()).await.expect("read");
    assert_eq!(title.as_deref(), Some("For Node"));
    // Closed, it holds nothing that keeps the process alive.
    assert!(crate::kit::patiently("the end", node.wait()).await.expect("ours").success());
}

/// With what Node has a WebSocket; None: with nothing.
async fn websocket_flags() -> Result<Option<Vec<&'static str>>, String> {
    for flags in [vec![], vec!["--experimental-websocket"]] {
        let script = "process.exit(globalThis.WebSocket ? 0 : 1)";
        let mut asked = Command::new("node");
        asked.args(&flags).args(["-e", script]);
        let output = asked.output().await.map_err(|e| format!("node: {e}"))?;
        if output.status.success() {
            return Ok(Some(flags));
        }
    }
    Ok(None)
}
