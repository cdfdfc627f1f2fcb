use super::{migrated, ok, refused};
use crate::kit::{Binary, TestDb, http_client};

#[tokio::test]
async fn serve_wants_a_migrated_database_and_a_free_address() {
    let bare = TestDb::bare().await;
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let errors = refused(&Binary::new(&serve).env("DATABASE_URL", &bare.url()).output().await, 1);
    assert!(errors.contains("hint: Run `rowcast migrate`"), "{errors}");

    let db = migrated().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    let run = Binary::new(&["serve", "--listen", &taken]).env("DATABASE_URL", &db.url()).output().await;
    let errors = refused(&run, 1);
    assert!(errors.contains(&taken) && errors.contains("hint: ") && errors.contains("--listen"), "{errors}");
}

#[tokio::test]
async fn serve_is_ready_when_it_says_so_and_ends_on_sigterm() {
    let db = migrated().await;
    let mut server =
        Binary::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).start().ready().await;
    let ready = http_client().get(server.http("/readyz")).send().await.expect("it listens");
    assert_eq!(ready.status(), 200);
    let address = server.url.trim_start_matches("http://").to_owned();
    ok(&Binary::new(&["healthcheck", "--listen", &address]).output().await);

    server.signal(libc::SIGTERM);
    assert_eq!(server.ended().await.code(), Some(0));
    let errors = refused(&Binary::new(&["healthcheck", "--listen", &address]).output().await, 1);
    assert!(errors.contains("nobody answers"), "{errors}");
}

#[tokio::test]
async fn demo_takes_a_free_port_where_its_own_is_taken() {
    let db = TestDb::bare().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    let mut demo = Binary::new(&["demo", "--listen", &taken]).env("DATABASE_URL", &db.url()).start();
    let first = demo.line().await.expect("a line");
    assert!(first.contains(&taken) && first.contains("free port"), "{first}");
    let mut demo = demo.ready().await;
    assert!(!demo.url.ends_with(&taken));
    let mut said = String::new();
    while !said.contains("Ctrl-C") {
        said.push_str(&demo.line().await.expect("what to do"));
    }
    for part in [&format!("{}/rates", demo.url), "psql \"$DATABASE_URL\"", "update rates set rate"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let page = http_client().get(demo.http("/rates")).send().await.expect("it listens");
    assert_eq!(page.status(), 200);
    demo.signal(libc::SIGINT);
    assert_eq!(demo.ended().await.code(), Some(0));
}
