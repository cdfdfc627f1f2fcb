use super::{migrated, ok, refused};
use crate::kit::Binary;

#[tokio::test]
async fn a_refresh_needs_no_server_and_no_key_and_says_what_changed() {
    let db = migrated().await;
    let run = async |args: &[&str]| {
        Binary::new(&[&["rates", "refresh"], args].concat()).env("DATABASE_URL", &db.url()).output().await
    };
    let lines = ok(&run(&["--once", "--simulated"]).await);
    assert_eq!(lines.len(), 61);
    assert_eq!((&lines[0]["before"], &lines[0]["confidence"]), (&serde_json::Value::Null, &"low".into()));
    assert_eq!((&lines[60]["changed"], &lines[60]["written"]), (&60.into(), &60.into()));
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rates").await, "60");
    // The walk begins anew with the process: the same rates, and nothing is written.
    let lines = ok(&run(&["--simulated"]).await);
    assert_eq!((lines.len(), &lines[0]["written"]), (1, &0.into()), "{lines:?}");

    let errors = refused(&run(&[]).await, 2);
    assert!(errors.contains("no provider is configured") && errors.contains("--simulated"), "{errors}");
    for (file, said) in [
        ("[provider.source.lunch]", "there is no provider \"lunch\""),
        ("[provider.source.fixer]\nkey_env = 'NO_SUCH_KEY'", "provider fixer needs a key: set NO_SUCH_KEY"),
        ("[provider.source.simulated]\n[rates]\nsources = ['dollar']", "dollar"),
    ] {
        let program = Binary::new(&["rates", "refresh"]).file("rowcast.toml", file).env("DATABASE_URL", &db.url());
        let errors = refused(&program.output().await, 2);
        assert!(errors.contains(said), "{errors}");
    }
    let sources = "{ simulated = { seed = 2 } }";
    let program =
        Binary::new(&["rates", "refresh"]).env("ROWCAST_PROVIDER_SOURCE", sources).env("DATABASE_URL", &db.url());
    assert_eq!(ok(&program.output().await).last().expect("a summary")["used"], 18);
}
