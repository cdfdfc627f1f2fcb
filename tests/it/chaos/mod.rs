//! `rowcast chaos` in its short form. A minute of it is a step of CI of its own; hours are for whoever wants to be sure.

use crate::kit::{Binary, Dir, install_tls};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_everything_breaks() {
    install_tls();
    let dir = Dir::new("chaos");
    let plan = rowcast::chaos::Plan {
        seed: 7,
        lasts: std::time::Duration::from_secs(12),
        instances: 2,
        writers: 4,
        program: Binary::program(),
        root: dir.path().to_owned(),
        faults: true,
    };
    let report = rowcast::chaos::run(&plan, |_| ()).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(report.violations, Vec::<String>::new(), "{report}");
    assert!(report.received() > 200 && report.faults_in_all() > 5, "too little happened to prove anything: {report}");
}

/// The page of promises names tests that exist.
#[test]
fn each_promise_names_its_tests() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/GUARANTEES.md")).expect("the page");
    let rows = page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| promise") && !l.starts_with("| fault"));
    let mut named = 0;
    for row in rows {
        let proofs = row.trim_end_matches(" |").rsplit_once(" | ").expect("two cells").1;
        for proof in proofs.split(", ").map(|p| p.trim_matches('`')) {
            let (module, name) = proof.rsplit_once("::").expect("module::name");
            let base = root.join("tests/it").join(module.replace("::", "/"));
            let files = [base.with_extension("rs"), base.join("mod.rs")];
            let text = files.iter().find_map(|f| std::fs::read_to_string(f).ok());
            let text = text.unwrap_or_else(|| panic!("no module {module}"));
            assert!(text.contains(&format!("fn {name}(")), "{proof} does not exist");
            named += 1;
        }
    }
    assert!(named >= 20, "{named} proofs");
}
