use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::files::Files;
use super::{demo, folder, or_skip, run, token};
use crate::browser::cdp;
use crate::kit::{Binary, Running, TestDb, http_client};

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

/// Who signs in as another gets a connection of his own: the first one's would show him the first one's channels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_of_a_react_page_do_not_share_a_connection() {
    let Some(root) = bundled().await else { return };
    let examples = root.join("examples");
    let source = "
        import { createRoot } from 'react-dom/client';
        import { useRowcast } from './useWebSocket.js';
        const asked = new URLSearchParams(location.search);
        const url = asked.get('server') + '/ws';
        function Shown({ channel, token }) {
          const { connected } = useRowcast(channel, { url, token });
          return <p>{String(connected)}</p>;
        }
        const [mia, alice] = asked.getAll('token');
        createRoot(document.getElementById('root')).render(<>
          <Shown channel='order:2' token={mia} /><Shown channel='rates' token={mia} /><Shown channel='leaderboard' token={alice} />
        </>);";
    std::fs::write(examples.join("react/two.jsx"), source).expect("a file of ours");
    let page_of = "<div id=root></div><script type=module src=../dist/two.js></script>";
    std::fs::write(examples.join("react/two.html"), page_of).expect("a file of ours");
    let mut esbuild = Command::new("npx");
    esbuild.current_dir(&examples).args([
        "esbuild",
        "two=react/two.jsx",
        "--bundle",
        "--format=esm",
        "--jsx=automatic",
    ]);
    esbuild.args(["--outdir=dist", "--define:process.env.NODE_ENV=\"production\""]);
    run(&mut esbuild).await.expect("as for the others");

    let Some(mut page) = cdp::page().await else { return };
    let db = TestDb::bare().await;
    let demo = demo(&db).await;
    let files = Files::serve(vec![root]).await;
    let (mia, alice) = (token(&demo, "mia").await, token(&demo, "alice").await);
    let page_url = format!("{}/examples/react/two.html?server={}&token={mia}&token={alice}", files.url, demo.ws(""));
    page.goto(&page_url).await;
    page.until("[...document.querySelectorAll('p')].filter((p) => p.textContent === 'true').length === 3").await;
    let metrics = http_client().get(demo.http("/metrics")).send().await.expect("an answer").text().await.expect("text");
    assert!(metrics.lines().any(|line| line.starts_with("rowcast_hub_connections 2")), "{metrics}");
}

/// In Node, which has a WebSocket of its own from version 22 on; before, behind a flag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_module_runs_in_node_and_renews_its_token() {
    let Some(flags) = flags().await else { return };
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
    let (mut node, mut said) = node(&flags, script, &[&demo.ws("/ws"), &alice]);
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

/// `notes`, of whose table nothing is shown but its events.
async fn notes() -> (TestDb<'static>, Running) {
    let db = TestDb::new().await;
    db.exec("create table note (id int primary key); select rowcast.watch('note', 'notes')").await;
    let server = Binary::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url());
    let server = server.env("ROWCAST_CONNECTION_OPEN", "true").start().ready().await;
    (db, server)
}

/// As after an update of the server that writes its cursors in another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_cannot_be_read_is_given_up_and_the_channel_begins_anew() {
    let Some(flags) = flags().await else { return };
    let (db, server) = notes().await;
    let script = "
        const Real = WebSocket;
        let last;
        globalThis.WebSocket = class extends Real {
            constructor(...to) { super(...to); last = this; }
            send(text) { super.send(text.replace(/\"cursor\":\"[^\"]*\"/, '\"cursor\":\"unreadable\"')); }
        };
        const { connect } = await import(process.argv[1]);
        const client = connect({ url: process.argv[2] });
        client.subscribe('notes', {
            snapshot: () => { console.log('snapshot'); if (client.status.errors === 0) last.close(4000); },
            reset: (code) => console.log('reset', code),
            event: (e) => { console.log('event', e.data.id); client.close(); },
        });";
    let (mut node, mut said) = node(&flags, script, &[&server.ws("/ws")]);
    for line in ["snapshot", "reset bad_cursor", "snapshot"] {
        let next = crate::kit::patiently(line, said.next_line()).await;
        assert_eq!(next.expect("read").as_deref(), Some(line));
    }
    db.exec("insert into note values (1)").await;
    let event = crate::kit::patiently("the event", said.next_line()).await.expect("read");
    assert_eq!(event.as_deref(), Some("event 1"));
    assert!(crate::kit::patiently("the end", node.wait()).await.expect("ours").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_its_way_to_a_handler_that_left_does_not_reach_the_next_one() {
    let Some(flags) = flags().await else { return };
    let (db, server) = notes().await;
    let script = "
        const { connect } = await import(process.argv[1]);
        const client = connect({ url: process.argv[2] });
        const leave = client.subscribe('notes', {
            snapshot: () => console.log('snapshot'),
            event: (e) => {
                console.log('event', e.data.id);
                leave();
                // Given up before it was answered, too.
                client.subscribe('notes', { snapshot: () => console.log('too late') })();
                client.subscribe('notes', {
                    snapshot: () => console.log('again: snapshot'),
                    event: (e) => { console.log('again: event', e.data.id); if (e.data.id === 1000) client.close(); },
                    error: (code) => console.log('again:', code),
                });
            },
        });";
    let (mut node, mut said) = node(&flags, script, &[&server.ws("/ws")]);
    let mut next = async || crate::kit::patiently("a line", said.next_line()).await.expect("read");
    assert_eq!(next().await.as_deref(), Some("snapshot"));
    db.exec("insert into note select generate_series(1, 200)").await;
    assert_eq!(next().await.as_deref(), Some("event 1"));
    assert_eq!(next().await.as_deref(), Some("again: snapshot"));
    db.exec("insert into note values (1000)").await;
    assert_eq!(next().await.as_deref(), Some("again: event 1000"));
    assert!(crate::kit::patiently("the end", node.wait()).await.expect("ours").success());
}

/// A module that finds the client's address in `process.argv[1]`, and its lines.
fn node(flags: &[&str], script: &str, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let module = format!("{REPOSITORY}/pages/rowcast.js");
    let mut node = Command::new("node")
        .args(flags)
        .args(["--no-warnings", "--input-type=module", "-e", script, &module])
        .args(args)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is there");
    let said = BufReader::new(node.stdout.take().expect("piped")).lines();
    (node, said)
}

async fn flags() -> Option<Vec<&'static str>> {
    let flags = or_skip("Node", &websocket_flags().await)?;
    if flags.is_none() {
        eprintln!("SKIPPED: this Node is older than 20.10 and has no WebSocket");
    }
    flags
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
