//! A whole refresh, from the provider to the sockets.

use std::collections::BTreeSet;

use super::connect;
use crate::kit::{Server, TestDb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_sixty_updates_and_then_its_word() {
    let db = TestDb::new().await;
    let server = Server::with(&db.url(), |config| {
        config.provider = toml::from_str("[source.simulated]\nstep_bps_max = 50").expect("TOML");
    })
    .await;
    let mut remittance = connect(&server, "/ws/rates/").await;
    assert_eq!(remittance.next().await.raw, r#"{"type":"all_rates","data":{}}"#);
    let mut engine = connect(&server, "/api/v1/ws/rates/").await;
    engine.next_of("connection_established").await;
    db.exec("select rowcast.run_job('refresh-rates')").await;
    let (mut keys, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..60 {
        keys.insert(remittance.next_of("rate_update").await["data"]["key"].as_str().expect("text").to_owned());
        pairs.insert(engine.next_of("rate_update").await.str_of("pair").replace('/', "_"));
    }
    assert_eq!((keys.len(), &keys), (60, &pairs));
    assert_eq!(remittance.next().await.raw, r#"{"type":"all_rates_update","data":{}}"#);
    server.stop().await;
}
