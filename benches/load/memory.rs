//! Resident memory of the real server per idle connection: what the connections after the first few hundred add, once
//! several heartbeats have passed. Each line is a server of its own; the difference of two lines is what their difference costs.

use std::fmt::Write as _;

use super::clients::{Clients, Hello};
use super::fanout::request;
use super::measure::figure;
use super::program::{Database, Program, token};
use super::{Result, clients};

const CONNECTIONS: usize = 5000;
/// Come first, so that what is there once does not count.
const FIRST: usize = 500;
const TARGET_BYTES: u64 = 1536;
const HEARTBEAT_MS: u64 = 500;

const SQL: &str = "
    create table orders (id bigint primary key, customer text not null);
    insert into orders select n, n::text from generate_series(0, 20000) n;
    create table news (id bigint primary key, title text not null);
    select rowcast.watch('orders', 'user:{customer}');
    select rowcast.watch('orders', 'order:{id}');
    select rowcast.watch('news', 'news');
    select rowcast.define_access('news', everyone => true);
    select rowcast.define_access('user:{id}', allow => 'rowcast.user_id() = {id}');
    select rowcast.define_access('order:{id}', reads => '{orders}',
        allow => 'exists (select from orders o where o.id = {id}::bigint and o.customer = rowcast.user_id())');
";

/// What each connection is.
struct Kind {
    name: &'static str,
    token: bool,
    /// With `{}` for its user.
    channels: &'static [&'static str],
    is_target: bool,
}

const KINDS: [Kind; 5] = [
    Kind { name: "anonymous, no subscription", token: false, channels: &[], is_target: false },
    Kind { name: "token of its own, no subscription", token: true, channels: &[], is_target: false },
    Kind { name: "…, a channel that all share", token: true, channels: &["news"], is_target: false },
    Kind { name: "…, that and a channel of its own", token: true, channels: &["news", "user:{}"], is_target: true },
    Kind {
        name: "the same, its own by a rule that reads a table",
        token: true,
        channels: &["news", "order:{}"],
        is_target: true,
    },
];

pub fn run(args: &[String]) -> Result<()> {
    let connections = args.first().map_or(Ok(CONNECTIONS), |a| a.parse())?;
    let database = Database::start(false, SQL)?;
    println!("\nBytes of the server per idle connection, {connections} of them, each with a user of its own\n");
    println!("| connection | bytes of ours | target | of the kernel, both ends |\n|---|---|---|---|");
    for kind in &KINDS {
        let settings =
            [("ROWCAST_HUB_HEARTBEAT_MS", &*HEARTBEAT_MS.to_string()), ("ROWCAST_SCHEDULER_ENABLED", "false")];
        let program = database.serve(&settings)?;
        let _first = connect(&program, kind, 0, FIRST)?;
        let (ours, kernel) = (resident(&program)?, kernel_bytes());
        let _rest = connect(&program, kind, FIRST, connections)?;
        let ours = resident(&program)?.saturating_sub(ours) / connections as u64;
        let kernel =
            kernel_bytes().zip(kernel).map(|(after, before)| after.saturating_sub(before) / connections as u64);
        let target = if kind.is_target { TARGET_BYTES.to_string() } else { String::new() };
        let kernel = kernel.map_or("?".to_owned(), |bytes| bytes.to_string());
        println!("| {} | {ours} | {target} | {kernel} |", kind.name);
    }
    Ok(())
}

/// In, subscribed, and idle for some heartbeats.
fn connect(program: &Program, kind: &Kind, from: usize, count: usize) -> Result<Clients> {
    let mut lines = String::new();
    for user in from..from + count {
        let more = if kind.token { format!("Authorization: Bearer {}\r\n", token(user)?) } else { String::new() };
        let subscribe = |channel: &&str| {
            serde_json::json!({"type": "subscribe", "channel": channel.replace("{}", &user.to_string())}).to_string()
        };
        let frames = kind.channels.iter().map(subscribe).collect();
        writeln!(lines, "{}", serde_json::to_string(&Hello { request: request("/ws", &more), frames })?)?;
    }
    let file = std::env::temp_dir().join(format!("rowcast-hello-{}", std::process::id()));
    std::fs::write(&file, lines)?;
    // A welcome; `subscribed` and a snapshot for each channel.
    let texts = 1 + 2 * kind.channels.len() as u32;
    let mut clients = Clients::start(program.port, count, Some((&file, texts)))?;
    clients.ready()?;
    std::fs::remove_file(&file)?;
    clients::pause_ms(4 * HEARTBEAT_MS);
    Ok(clients)
}

fn resident(program: &Program) -> Result<u64> {
    figure(&format!("/proc/{}/smaps_rollup", program.pid()), "Anonymous")
}

/// Sockets, their files and what watches them, of the whole machine: for root only.
fn kernel_bytes() -> Option<u64> {
    let slabs = std::fs::read_to_string("/proc/slabinfo").ok()?;
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let ours =
            ["TCP", "sock_inode_cache", "filp", "ep_head", "eventpoll_epi", "eventpoll_pwq"].contains(&words.next()?);
        let (objects, size): (u64, u64) = (words.next()?.parse().ok()?, words.nth(1)?.parse().ok()?);
        ours.then_some(objects * size)
    };
    Some(slabs.lines().filter_map(of).sum())
}
