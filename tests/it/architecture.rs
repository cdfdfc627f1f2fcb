//! The rules of the house that a compiler does not know, read from the sources themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may use whom. A module that is not here may not be there.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("listener", &["domain"]),
    ("store", &["domain"]),
    ("router", &["store", "domain"]),
    ("hub", &["domain"]),
    ("protocol", &["domain"]),
    ("auth", &["store", "domain"]),
    ("connection", &["protocol", "hub", "store", "auth", "domain"]),
    ("provider", &["domain"]),
    ("rates", &["provider", "store", "domain"]),
    ("scheduler", &["rates", "store", "domain"]),
    ("http", &["connection", "protocol", "hub", "router", "store", "auth", "rates", "provider", "domain"]),
    ("embedded", &[]),
    ("shutdown", &[]),
    // These gather the other modules' own Config and Stats.
    ("telemetry", &GATHERED),
    ("config", &GATHERED),
    ("app", &EVERYTHING),
    ("fuzzing", &EVERYTHING),
    ("client", &[]),
    // Runs the program itself, as a supervisor would.
    ("chaos", &["client", "embedded"]),
    ("bench", &["client", "embedded", "listener", "domain"]),
    ("cli", &["app", "bench", "chaos", "client"]),
];
const GATHERED: [&str; 13] = [
    "auth",
    "connection",
    "domain",
    "http",
    "hub",
    "listener",
    "protocol",
    "provider",
    "rates",
    "router",
    "scheduler",
    "store",
    "shutdown",
];
const EVERYTHING: [&str; 18] = [
    "auth",
    "cli",
    "config",
    "connection",
    "domain",
    "embedded",
    "http",
    "hub",
    "listener",
    "protocol",
    "provider",
    "rates",
    "router",
    "scheduler",
    "shutdown",
    "store",
    "telemetry",
    "app",
];
/// One module may know a crate: to replace it, one module changes.
const SOLE_USERS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("tokio_postgres", &["listener", "chaos", "bench"]),
    ("tokio_postgres_rustls", &["listener"]),
    // auth: the key sets of token issuers.
    ("reqwest", &["auth", "provider", "cli", "client", "chaos"]),
    // hub: its tests are clients, too.
    ("tokio_tungstenite", &["client", "hub"]),
    ("mio", &["hub"]),
    ("tokio_rustls", &["http"]),
    ("poem", &["http", "app"]),
    ("poem_openapi", &["http", "app"]),
    ("prometheus_client", &["telemetry"]),
    ("tokio_cron_scheduler", &["scheduler"]),
    ("croner", &["scheduler"]),
    ("chrono_tz", &["scheduler"]),
    ("tracing_subscriber", &["telemetry"]),
    ("clap", &["cli"]),
    ("miniz_oxide", &["auth"]),
    ("anyhow", &["app", "cli", "main"]),
];
/// File, a part of the literal, and why this SQL is not in a file under `sql/`.
const SQL_EXCEPTIONS: &[(&str, &str, &str)] = &[];
const VAGUE_NAMES: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "manager", "misc", "shared"];
const LINES_MAX: usize = 500;

/// `config` reads the Config that telemetry's logging owns.
const EXTRA_ARROWS: &[(&str, &str)] = &[("config", "telemetry")];

struct Source {
    path: PathBuf,
    /// The first folder under `src`, or the file's own name.
    module: String,
    text: String,
}

#[test]
fn modules_use_only_what_stands_upstream() {
    let mut wrong = Vec::new();
    for source in sources() {
        if ["lib", "main"].contains(&source.module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == source.module) else {
            panic!("{}: a new module needs its arrows in ARROWS", source.path.display());
        };
        for used in used_modules(&source) {
            let extra = EXTRA_ARROWS.contains(&(source.module.as_str(), used.as_str()));
            if used != source.module && !allowed.contains(&used.as_str()) && !extra {
                wrong.push(format!("{} uses {used}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_big_crate_has_its_one_user() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, users) in SOLE_USERS {
            if names_crate(&source.text, name) && !users.contains(&source.module.as_str()) {
                wrong.push(format!("{} uses {name}: only {users:?} may", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_module_has_a_vague_name_or_too_many_lines() {
    for Source { path, text, .. } in sources() {
        for part in path.with_extension("").iter().map(|p| p.to_string_lossy()) {
            assert!(!VAGUE_NAMES.contains(&part.as_ref()), "{}: say what it does", path.display());
        }
        let lines = text.lines().count();
        assert!(lines < LINES_MAX, "{} has {lines} lines: look for the seam", path.display());
    }
}

#[test]
fn sql_lives_in_files() {
    let mut wrong = Vec::new();
    for Source { path, text, .. } in sources() {
        let text = without_tests(&path, &text);
        let place = path.display().to_string();
        for literal in literals(text) {
            let excepted = SQL_EXCEPTIONS.iter().any(|(file, part, _)| place.ends_with(file) && literal.contains(part));
            if is_sql(&literal) && !excepted {
                wrong.push(format!("{place}: {literal:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where a migration runs SQL that it has put together. Each was looked at (SECURITY.md): names by %I or regclass,
/// values by %L or `using`, and on purpose the SQL of whoever defines routes.
const DYNAMIC_SQL: &[(&str, usize)] = &[
    ("0003_texts.sql", 1),
    ("0004_capture.sql", 11),
    ("0005_watch.sql", 4),
    ("0008_retention.sql", 5),
    ("0100_rates.sql", 5),
    ("0123_jobs_parsed.sql", 1),
    ("0124_rates_tend_13.sql", 5),
    ("0130_keys.sql", 1),
    ("0132_found.sql", 3),
    ("0200_identity.sql", 5),
    ("0201_access.sql", 3),
    ("0215_unwatch.sql", 1),
    ("reference/0001_ground.sql", 1),
    ("reference/0002_orders.sql", 3),
    ("0204_access_hints.sql", 1),
    ("0225_access_asked.sql", 4),
    ("reference/0003_learning.sql", 2),
    ("reference/0004_portfolios.sql", 2),
];

#[test]
fn dynamic_sql_has_been_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let entries = [folder.clone(), folder.join("reference")].map(|folder| std::fs::read_dir(folder).expect("ours"));
    for entry in entries.into_iter().flatten() {
        let path = entry.expect("readable").path();
        if !path.is_file() {
            continue;
        }
        let name = path.strip_prefix(&folder).expect("below it").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a migration").to_lowercase();
        let is = |line: &&str| {
            let statement = line.trim_start();
            let dynamic = statement.strip_prefix("execute ").or(statement.strip_prefix("return query execute "));
            dynamic.is_some_and(|what| !what.starts_with("function ") && !what.starts_with("procedure "))
        };
        let looked_at = DYNAMIC_SQL.iter().find(|(file, _)| *file == name).map_or(0, |(_, count)| *count);
        assert_eq!(text.lines().filter(is).count(), looked_at, "{name}: look at each `execute`, then say so here");
    }
}

#[test]
fn tests_wait_for_signals() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for path in files(&root.join("tests")) {
        if path.starts_with(root.join("tests/it/kit")) || path.ends_with("architecture.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source of ours");
        for (n, line) in text.lines().enumerate() {
            // pg_sleep is Postgres' own, and what some tests are about.
            if line.match_indices("sleep(").any(|(at, _)| !line[..at].ends_with(word)) {
                wrong.push(format!("{}:{}", path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "kit::wait_until and kit::patiently wait; these sleep: {wrong:#?}");
}

#[test]
fn these_rules_can_be_broken() {
    let source = |path: &str, text: &str| Source { path: path.into(), module: "hub".into(), text: text.into() };
    let cases = [
        ("src/hub/mod.rs", "use crate::store::Store;", vec!["store"]),
        ("src/hub/mod.rs", "use crate::{\n    domain::{Batch, Cursor},\n    listener,\n};", vec!["domain", "listener"]),
        ("src/hub/mod.rs", "fn f() { crate::app::run() }", vec!["app"]),
        ("src/hub/mod.rs", "use super::cli::run;", vec!["cli"]),
        ("src/hub/shard/mod.rs", "use super::super::http;", vec!["http"]),
        ("src/hub/shard.rs", "use super::super::http;", vec!["http"]),
        ("src/hub/shard.rs", "use super::http;", vec![]),
        ("src/hub/mod.rs", "// see crate::store\n/// and crate::app", vec![]),
    ];
    for (path, text, expected) in cases {
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(used_modules(&source(path, text)), expected, "{path}: {text}");
    }
    assert!(names_crate("use sqlx::PgPool;", "sqlx") && names_crate("fn f() -> anyhow::Result<()> {", "anyhow"));
    assert!(!names_crate("use tokio_postgres_rustls::X;", "tokio_postgres") && !names_crate("my_sqlx::x()", "sqlx"));
    assert!(!names_crate("// like sqlx::query", "sqlx"));

    let text = "let a = 'x'; let q = \"Select 1 from \\\"t\\\"\"; let r = r#\"delete from \"t\"\"#; let c = '\"'; // \"select 2\"";
    assert_eq!(literals(text), ["Select 1 from \\\"t\\\"", "delete from \"t\""]);
    for sql in [
        "select 1",
        "\n  INSERT INTO t values (1)",
        "update t set a = 1",
        "delete from t",
        "with x as (select 1) table x",
    ] {
        assert!(is_sql(sql), "{sql}");
    }
    for prose in ["selected", "update the schema", "deleted", "with care", "insert coin"] {
        assert!(!is_sql(prose), "{prose}");
    }
    assert_eq!(without_tests(Path::new("a.rs"), "x\n#[cfg(test)]\nmod tests {\n\"select 1\"\n}"), "x\n");
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found: Vec<Source> = files(&root.join("src"))
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source of ours");
            let path = path.strip_prefix(root).expect("below the root").to_owned();
            let module = path.iter().nth(1).expect("src/…").to_string_lossy().trim_end_matches(".rs").to_owned();
            Source { path, module, text }
        })
        .collect();
    assert!(found.len() > 10, "the sources were found");
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory of ours") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Top-level modules that a source names: `crate::x`, `crate::{x::y, z}`, and `super::x` where that is the root.
fn used_modules(source: &Source) -> BTreeSet<String> {
    let code = without_comments(&source.text);
    let folders = source.path.iter().count() - 2; // src and the file itself
    let is_mod = source.path.ends_with("mod.rs");
    let root = "super::".repeat(if is_mod { folders } else { folders + 1 });
    let mut used = BTreeSet::new();
    for prefix in ["crate::", &root] {
        for (at, _) in
            code.match_indices(prefix).filter(|(at, _)| !code[..*at].ends_with(|c: char| word(c) || c == ':'))
        {
            used.extend(heads(&code[at + prefix.len()..]));
        }
    }
    used.retain(|u| ARROWS.iter().any(|(module, _)| module == u));
    used
}

/// The first words of `a::b` (one) or of `{a::b, c, d::{e, f}}` (three).
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let end = path.find(|c| !word(c)).unwrap_or(path.len());
        return vec![path[..end].to_owned()];
    };
    let (mut depth, mut at_head, mut found) = (0, true, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if word(c) && at_head => {
                at_head = false;
                found.extend(heads(&group[i..]));
            }
            _ => {}
        }
    }
    found
}

fn names_crate(text: &str, name: &str) -> bool {
    let code = without_comments(text);
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| !code[..at].ends_with(|c: char| word(c) || c == ':'))
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with("//")).flat_map(|l| [l, "\n"]).collect()
}

/// Tests may hold SQL: it is what they are about.
fn without_tests<'t>(path: &Path, text: &'t str) -> &'t str {
    let end = if path.ends_with("tests.rs") { 0 } else { text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len()) };
    &text[..end]
}

/// String literals as they are written, raw ones as well; characters and comments passed over.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, from) = rest.split_at(at);
        let hashes = before.len() - before.trim_end_matches('#').len();
        let raw = before.trim_end_matches('#').ends_with('r');
        rest = if from.starts_with("//") {
            &from[from.find('\n').unwrap_or(from.len())..]
        } else if let Some(inner) = from.strip_prefix('"').filter(|_| raw) {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = inner.find(&close).expect("a raw string ends");
            found.push(inner[..end].to_owned());
            &inner[end + close.len()..]
        } else if let Some(inner) = from.strip_prefix('"') {
            let mut escaped = false;
            let end = inner.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            let end = end.expect("a string ends");
            found.push(inner[..end].to_owned());
            &inner[end + 1..]
        } else if from.starts_with("'\\") {
            &from[3 + from[3..].find('\'').expect("a character ends") + 1..]
        } else if from.starts_with('\'') && from.chars().nth(2) == Some('\'') {
            &from[from.char_indices().nth(3).map_or(from.len(), |(i, _)| i)..]
        } else {
            &from[1..]
        };
    }
    found
}

fn is_sql(literal: &str) -> bool {
    let text = literal.trim_start().to_lowercase();
    let has = |part: &str| text.contains(part);
    ["select ", "insert into ", "delete from ", "truncate ", "alter table ", "create table "]
        .iter()
        .any(|s| text.starts_with(s))
        || (text.starts_with("update ") && has(" set "))
        || (text.starts_with("with ") && has(" as ("))
}
