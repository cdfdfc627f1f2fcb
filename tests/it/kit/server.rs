use rowcast::app::{self, Config, Database, Extras};
use rowcast::config::Secret;

use super::TestDb;

/// rowcast in this process, on a free port.
pub struct Server {
    running: Option<app::Running>,
    /// `http://127.0.0.1:port`
    pub url: String,
}

impl Server {
    pub async fn start(db: &TestDb<'_>) -> Self {
        Self::with(&db.url(), |_| ()).await
    }

    /// On any URL, with settings of the test's own.
    pub async fn with(url: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.database.url = Some(Secret::new(url));
        config.http.listen = "127.0.0.1:0".into();
        config.hub.shards = 2;
        config.connection.open = true;
        config.shutdown.grace_ms = 2_000;
        change(&mut config);
        let database = Database::open(&config).expect("a configured database needs no start");
        let running = app::start(config, &database, Extras::default()).await;
        let running = running.unwrap_or_else(|e| panic!("the server does not start: {e:#}"));
        Self { url: running.url(), running: Some(running) }
    }

    pub fn http(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn ws(&self) -> String {
        format!("{}/ws", self.url.replacen("http", "ws", 1))
    }

    /// Ends it in order, as SIGTERM would.
    pub async fn stop(mut self) {
        self.running.take().expect("stopped once").stop().await;
    }
}
