//! What the facts mean: pure, so that a table of cases can test it.

use std::time::Duration;

use crate::app::{ServerFacts, SpineFacts, TableFacts};

use super::Finding;

const VERSION_NUM_MIN: i32 = 130_000;
/// A ping that takes longer than this makes every view and snapshot slow.
const PING_SLOW: Duration = Duration::from_millis(50);
/// Four slots of 15 minutes, and a rotation that a long dump may put off for a while.
const LOG_AGE_OLD_S: i64 = 2 * 3600;
/// Listeners beat more often than this by far.
const BEAT_OLD_S: i64 = 60;
/// 8 GB of queue: at 1 % somebody does not read.
const NOTIFY_QUEUE_HIGH: f64 = 0.01;

pub fn server(f: &ServerFacts, ping: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    let place = format!("database {} as {}, ping {}", f.database, f.user, milliseconds(ping));
    found.push(match ping > PING_SLOW {
        false => Finding::ok("database", place),
        true => Finding::warn("database", place, "Run rowcast near the database: each snapshot waits for this."),
    });
    found.push(match f.version_num >= VERSION_NUM_MIN {
        true => Finding::ok("version", format!("PostgreSQL {}", f.version)),
        false => Finding::fail(
            "version",
            format!("PostgreSQL {} is too old", f.version),
            "rowcast needs 13 or newer: it stands on xid8 and pg_current_snapshot().",
        ),
    });
    found.push(match (&f.tls, f.local, f.loopback) {
        (Some(version), _, _) => Finding::ok("tls", version),
        (None, true, _) => Finding::ok("tls", "not needed: a unix socket"),
        (None, _, true) => Finding::ok("tls", "not used, and not needed on loopback"),
        _ => Finding::warn(
            "tls",
            "this connection crosses a network in the clear",
            "Add sslmode=verify-full (and sslrootcert) to DATABASE_URL.",
        ),
    });
    found.push(match f.standby {
        false => Finding::ok("primary", "takes writes"),
        true => Finding::fail(
            "primary",
            "this is a standby: LISTEN and capture need the primary",
            "Point DATABASE_URL at the primary (target_session_attrs=read-write).",
        ),
    });
    let usage = format!("{:.2} % used", f.notify_queue * 100.0);
    found.push(match f.notify_queue > NOTIFY_QUEUE_HIGH {
        false => Finding::ok("notify queue", usage),
        true => Finding::fail(
            "notify queue",
            usage,
            "A session LISTENs and does not read, or sits in a transaction: when the queue is full, every NOTIFY fails. \
             Find it with `select * from pg_stat_activity where state like 'idle in%'` and end it.",
        ),
    });
    found.push(rights(f));
    found.push(powers(f));
    found
}

/// A standby has no answers to the other questions, and whoever has no rights gets none: hints that go with what else
/// fails would only mislead.
pub fn hides_the_rest(f: &ServerFacts) -> bool {
    f.standby || f.owns_schema == Some(false)
}

fn rights(f: &ServerFacts) -> Finding {
    let (user, database) = (&f.user, &f.database);
    match (&f.schema_owner, f.owns_schema) {
        (Some(owner), Some(true)) if owner == user => Finding::ok("rights", format!("{user} owns schema rowcast")),
        (Some(owner), Some(true)) => {
            Finding::ok("rights", format!("{user} may act as {owner}, who owns schema rowcast"))
        }
        (Some(owner), _) => Finding::fail(
            "rights",
            format!("schema rowcast belongs to {owner}, not to {user}"),
            format!("Connect as {owner}, or `grant {owner} to {user}`."),
        ),
        (None, _) if f.may_create_schema => Finding::ok("rights", format!("{user} may create schema rowcast")),
        (None, _) => Finding::fail(
            "rights",
            format!("{user} may not create a schema in {database}"),
            format!("As the database's owner: `grant create on database {database} to {user}`."),
        ),
    }
}

fn powers(f: &ServerFacts) -> Finding {
    if f.too_much.is_empty() {
        return Finding::ok("powers", format!("{} has none beyond its rights", f.user));
    }
    Finding::warn(
        "powers",
        format!("{} is, or may, more than the server needs: {}", f.user, f.too_much.join(", ")),
        "Serve as a role of its own, or take these from it: `alter role … nosuperuser nocreaterole nocreatedb \
         noreplication nobypassrls`, `revoke … from …`. createrole serves only `rowcast migrate`.",
    )
}

/// `pending`: migrations that the database lacks.
pub fn schema(f: &ServerFacts, pending: &[(i64, String)], total: usize) -> Finding {
    match (f.schema_owner.is_some(), pending) {
        (true, []) => Finding::ok("schema", format!("complete, {total} migrations")),
        (true, some) => Finding::fail(
            "schema",
            format!("{} of {total} migrations are missing", some.len()),
            "Run `rowcast migrate`.",
        ),
        (false, _) => Finding::fail(
            "schema",
            "rowcast is not installed in this database",
            match f.may_create_schema {
                true => "Run `rowcast migrate`.",
                false => "Once the right is there, run `rowcast migrate`.",
            },
        ),
    }
}

pub fn spine(f: &SpineFacts, server: &ServerFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.push(match f.incarnation {
        true => Finding::ok("stream", format!("has a token, horizon {}", f.horizon)),
        false => Finding::warn(
            "stream",
            "has no token: Postgres recovered from a crash, or was promoted, and nobody has read since",
            "Start `rowcast serve`: it begins a new stream and tells every client to start over.",
        ),
    });
    found.push(capture(f));
    found.push(match f.strangers.is_empty() {
        true => Finding::ok("locks", "nobody else holds our advisory locks"),
        false => Finding::warn(
            "locks",
            f.strangers.join("; "),
            "Wake-ups wait for the safety poll, or nobody leads, as long as it does: end that session, and ask its role why.",
        ),
    });
    found.push(match f.owns_watched {
        0 => Finding::ok("ownership", format!("{} owns no watched table", server.user)),
        n => Finding::warn(
            "ownership",
            format!("{} may act as the owner of {n} watched tables", server.user),
            "A role of its own needs TRIGGER and UPDATE on them while they are watched, and SELECT where a view reads them.",
        ),
    });
    found.push(match f.gap_pending {
        false => match f.gap_age_s {
            None => Finding::ok("gaps", "none"),
            Some(s) => Finding::ok("gaps", format!("the last one {} ago, its readers were told", seconds(s))),
        },
        true => Finding::warn(
            "gaps",
            "changes went unrecorded, and not every reader has been told",
            "Start `rowcast serve`: it resets every client, they read again.",
        ),
    });
    found.push(log(f));
    found.push(listener(f));
    found.push(match (&f.capture_owner, f.powerless_role) {
        (Some(owner), _) if owner == "rowcast_capture" => {
            Finding::ok("capture owner", "rowcast_capture, which may only append to the log")
        }
        (None, true) => Finding::ok("capture owner", "rowcast_capture stands ready, nothing is watched"),
        (owner, _) => Finding::warn(
            "capture owner",
            match owner {
                Some(owner) => format!("{owner} owns capture functions: users' casts and conditions run with its rights"),
                None => "there is no role rowcast_capture: capture would run with the owner's rights".into(),
            },
            match server.may_create_role {
                true => format!(
                    "`create role rowcast_capture nologin; grant rowcast_capture to {}`, then watch the tables again.",
                    server.schema_owner.as_ref().unwrap_or(&server.user)
                ),
                false => format!(
                    "As a superuser: `create role rowcast_capture nologin; grant rowcast_capture to {}`, then watch the \
                     tables again.",
                    server.schema_owner.as_ref().unwrap_or(&server.user)
                ),
            },
        ),
    });
    found
}

fn capture(f: &SpineFacts) -> Finding {
    if f.lease_stopped {
        return Finding::fail(
            "capture",
            "stopped: the log had reached its bound",
            "Start `rowcast serve`, which empties the log; look at the log's size below.",
        );
    }
    if f.lease_left_s < 0 {
        return Finding::fail(
            "capture",
            format!("stopped {} ago: no rowcast has tended the log", seconds(-f.lease_left_s)),
            "Start `rowcast serve`: it resumes capture and tells every client to start over.",
        );
    }
    Finding::ok("capture", format!("records for {} without a rowcast", seconds(f.lease_left_s)))
}

fn log(f: &SpineFacts) -> Finding {
    let size = format!("{} of at most {}", bytes(f.log_bytes), bytes(f.log_bytes_max));
    let detail = match f.log_age_s {
        None => format!("empty, {size}"),
        Some(s) => format!("reaches back {}, {size}", seconds(s.max(0))),
    };
    if f.log_bytes > f.log_bytes_max / 2 {
        return Finding::warn(
            "log",
            detail,
            "Raise log_bytes_max, or watch fewer columns: past the bound capture stops.",
        );
    }
    match f.log_age_s {
        Some(s) if s > LOG_AGE_OLD_S => Finding::warn(
            "log",
            detail,
            "It has not been rotated: is a rowcast running, and does a long transaction or pg_dump hold the slots?",
        ),
        _ => Finding::ok("log", detail),
    }
}

fn listener(f: &SpineFacts) -> Finding {
    match (f.listeners, f.last_beat_s) {
        (0, _) => Finding::warn(
            "listener",
            "no rowcast listens to this database",
            "Start `rowcast serve`. Changes are recorded meanwhile, as far as the log reaches.",
        ),
        (n, Some(beat)) if beat > BEAT_OLD_S => Finding::warn(
            "listener",
            format!("{n} connected, the last sign of life {} ago", seconds(beat)),
            "Its network may be gone: another instance ends its session, or restart it.",
        ),
        (n, _) => {
            let bell = if f.doorbell_held { "asleep at the bell" } else { "awake" };
            let leader = if f.leader_held { bell } else { "without a leader at this moment" };
            Finding::ok("listener", format!("{n} connected, {leader}"))
        }
    }
}

pub fn table(t: &TableFacts) -> Finding {
    let name = format!("table {}", t.now.as_ref().unwrap_or(&t.name));
    let again = format!("Repeat `rowcast watch {} …` for each of: {}.", t.name, t.channels.join(", "));
    let Some(now) = &t.now else {
        return Finding::warn(
            &name,
            "was dropped",
            "`rowcast serve` forgets it by itself; a new table is watched anew.",
        );
    };
    if !t.function {
        return Finding::fail(&name, "its capture function is gone", again);
    }
    if !t.missing.is_empty() {
        return Finding::fail(&name, format!("not there: {}", t.missing.join(", ")), again);
    }
    if !t.disabled.is_empty() {
        let hint = format!("As the table's owner: `alter table {now} enable always trigger …`.");
        return Finding::fail(&name, format!("disabled: {}", t.disabled.join(", ")), hint);
    }
    if !t.lost.is_empty() {
        let detail = format!("has no such column any more: {}", t.lost.join(", "));
        let hint = format!(
            "Renamed? `rowcast watch {now} …` with the new name, then `rowcast unwatch {now} CHANNEL` with the old."
        );
        return Finding::fail(&name, detail, hint);
    }
    if let Some(problem) = &t.bulk_problem {
        let hint = format!("Capture it row by row: `rowcast watch {now} CHANNEL --no-bulk` for one of its channels.");
        return Finding::fail(&name, format!("is watched with bulk, and {problem}"), hint);
    }
    if !t.ordinary.is_empty() {
        let detail = format!("does not capture what logical replication applies: {}", t.ordinary.join(", "));
        let hint = format!("If that matters, as the table's owner: `alter table {now} enable always trigger …`.");
        return Finding::warn(&name, detail, hint);
    }
    let how = if t.bulk { "by statement" } else { "by row" };
    let bell = if t.bell { "" } else { ", without the bell" };
    let renamed = if *now == t.name { String::new() } else { format!(", was {}", t.name) };
    Finding::ok(&name, format!("to {}, {how}{bell}{renamed}", t.channels.join(", ")))
}

fn milliseconds(d: Duration) -> String {
    format!("{:.1} ms", d.as_secs_f64() * 1000.0)
}

pub fn seconds(s: i64) -> String {
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        _ => format!("{} h", s / 3600),
    }
}

fn bytes(n: i64) -> String {
    match n {
        0..10_240 => format!("{n} B"),
        10_240..10_485_760 => format!("{} KiB", n >> 10),
        _ => format!("{} MiB", n >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fail, Ok, Warn};
    use super::*;

    fn server_facts() -> ServerFacts {
        ServerFacts {
            version_num: 150_018,
            version: "15.18".into(),
            database: "shop".into(),
            user: "app".into(),
            superuser: false,
            may_create_schema: true,
            may_create_role: false,
            standby: false,
            local: true,
            loopback: false,
            tls: None,
            schema_owner: Some("app".into()),
            owns_schema: Some(true),
            too_much: vec![],
            notify_queue: 0.0,
        }
    }

    fn spine_facts() -> SpineFacts {
        SpineFacts {
            incarnation: true,
            horizon: "0".into(),
            gap_pending: false,
            gap_age_s: None,
            lease_left_s: 3500,
            lease_stopped: false,
            log_bytes: 65_536,
            log_bytes_max: 1 << 30,
            log_age_s: Some(60),
            doorbell_held: true,
            leader_held: true,
            strangers: vec![],
            owns_watched: 0,
            listeners: 1,
            last_beat_s: Some(2),
            capture_owner: Some("rowcast_capture".into()),
            powerless_role: true,
        }
    }

    fn table_facts() -> TableFacts {
        TableFacts {
            name: "public.rates".into(),
            now: Some("public.rates".into()),
            bulk: false,
            bulk_problem: None,
            bell: true,
            function: true,
            missing: vec![],
            disabled: vec![],
            ordinary: vec![],
            lost: vec![],
            channels: vec!["rates".into()],
        }
    }

    /// The verdict on `name`, and that whatever is not well comes with a hint.
    fn verdict(findings: &[Finding], name: &str) -> Verdict {
        for f in findings {
            assert_eq!(f.hint.is_some(), f.verdict != Ok, "{f:?}");
        }
        findings.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("nothing on {name}")).verdict
    }

    #[test]
    fn servers_are_judged() {
        type Case = (&'static str, Verdict, fn(&mut ServerFacts));
        let cases: [Case; 11] = [
            ("powers", Ok, |_| {}),
            ("powers", Warn, |f| f.too_much = vec!["superuser".into()]),
            ("database", Ok, |_| {}),
            ("version", Fail, |f| f.version_num = 120_022),
            ("tls", Warn, |f| f.local = false),
            ("tls", Ok, |f| (f.local, f.loopback) = (false, true)),
            ("tls", Ok, |f| (f.local, f.tls) = (false, Some("TLSv1.3".into()))),
            ("primary", Fail, |f| f.standby = true),
            ("notify queue", Fail, |f| f.notify_queue = 0.02),
            ("rights", Fail, |f| f.owns_schema = Some(false)),
            ("rights", Fail, |f| (f.schema_owner, f.owns_schema, f.may_create_schema) = (None, None, false)),
        ];
        for (name, want, change) in cases {
            let mut facts = server_facts();
            change(&mut facts);
            let found = server(&facts, Duration::from_millis(1));
            assert_eq!(verdict(&found, name), want, "{facts:?}");
        }
        assert_eq!(verdict(&server(&server_facts(), Duration::from_millis(80)), "database"), Warn);
    }

    #[test]
    fn what_cannot_be_asked_is_not_asked() {
        let standby = ServerFacts { standby: true, ..server_facts() };
        let stranger = ServerFacts { owns_schema: Some(false), ..server_facts() };
        let bare = ServerFacts { schema_owner: None, owns_schema: None, ..server_facts() };
        assert_eq!([standby, stranger, bare, server_facts()].map(|f| hides_the_rest(&f)), [true, true, false, false]);
    }

    #[test]
    fn the_spine_is_judged() {
        type Case = (&'static str, Verdict, fn(&mut SpineFacts));
        let cases: [Case; 14] = [
            ("locks", Warn, |f| f.strangers = vec!["pid 1".into()]),
            ("ownership", Warn, |f| f.owns_watched = 1),
            ("stream", Ok, |_| {}),
            ("stream", Warn, |f| f.incarnation = false),
            ("capture", Fail, |f| f.lease_left_s = -5),
            ("capture", Fail, |f| f.lease_stopped = true),
            ("gaps", Warn, |f| f.gap_pending = true),
            ("gaps", Ok, |f| f.gap_age_s = Some(100)),
            ("log", Warn, |f| f.log_bytes = f.log_bytes_max),
            ("log", Warn, |f| f.log_age_s = Some(3 * 3600)),
            ("listener", Warn, |f| f.listeners = 0),
            ("listener", Warn, |f| f.last_beat_s = Some(100)),
            ("capture owner", Warn, |f| f.capture_owner = Some("app".into())),
            ("capture owner", Ok, |f| f.capture_owner = None),
        ];
        for (name, want, change) in cases {
            let mut facts = spine_facts();
            change(&mut facts);
            assert_eq!(verdict(&spine(&facts, &server_facts()), name), want, "{facts:?}");
        }
    }

    #[test]
    fn tables_are_judged() {
        type Case = (Verdict, fn(&mut TableFacts));
        let cases: [Case; 8] = [
            (Ok, |_| {}),
            (Warn, |t| t.now = None),
            (Fail, |t| t.bulk_problem = Some("has a parent".into())),
            (Warn, |t| t.ordinary = vec!["a on rates".into()]),
            (Fail, |t| t.function = false),
            (Fail, |t| t.missing = vec!["a on rates".into()]),
            (Fail, |t| t.lost = vec!["a in rates:{a}".into()]),
            (Fail, |t| t.disabled = vec!["a on rates".into()]),
        ];
        for (want, change) in cases {
            let mut facts = table_facts();
            change(&mut facts);
            let finding = table(&facts);
            let name = finding.name.clone();
            assert_eq!(verdict(&[finding], &name), want, "{facts:?}");
        }
    }

    #[test]
    fn a_schema_is_complete_or_says_what_to_run() {
        let pending = [(3, "texts".to_owned())];
        let bare = ServerFacts { schema_owner: None, ..server_facts() };
        for (facts, pending, want) in
            [(server_facts(), &[][..], Ok), (server_facts(), &pending, Fail), (bare, &pending, Fail)]
        {
            assert_eq!(verdict(&[schema(&facts, pending, 3)], "schema"), want);
        }
    }
}
