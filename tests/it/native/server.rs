//! The real HTTP server and hub over a world.

use std::sync::Arc;

use rowcast::auth::Auth;
use rowcast::connection::{self, Shared};
use rowcast::domain::DatabaseUrl;
use rowcast::http::{self, Page, Parts, Readiness};
use rowcast::hub::{self, Hub};
use rowcast::protocol::Dialects;
use rowcast::store::Store;
use tokio::sync::oneshot;

use super::world::World;
use crate::kit::{patiently, ws};

/// A server over a world. Ends with the test.
pub struct Server {
    pub world: Arc<World>,
    pub hub: Hub,
    pub shared: Arc<Shared>,
    pub readiness: Arc<Readiness>,
    pub address: std::net::SocketAddr,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

#[derive(Default)]
pub struct Settings {
    pub hub: hub::Config,
    pub connection: connection::Config,
    pub http: http::Config,
    /// Do not begin the stream.
    pub silent: bool,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let hub_config = hub::Config { shards: 2, ..settings.hub };
        let hub = Hub::start(hub_config.clone(), Dialects::native().into_vec()).expect("a hub");
        let world = World::new(hub.clone());
        let shared = Shared::new(
            connection::Config { open: true, ..settings.connection },
            hub_config,
            hub.clone(),
            world.clone(),
            world.clone(),
            nobody(),
            connection::Users::new(0),
        );
        let shared = shared.expect("patterns are right");
        let readiness = Readiness::new(Vec::new());
        let parts = Parts {
            shared: shared.clone(),
            database: world.clone(),
            readiness: readiness.clone(),
            metrics: Arc::new(|| "# EOF\n".into()),
            pages: vec![Page::new("/hello", "text/html; charset=utf-8", "<p>hello")],
            sockets: Vec::new(),
            rates: None,
            mint: None,
            reference: None,
            grace: std::time::Duration::from_secs(2),
        };
        if !settings.silent {
            world.begin(1);
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let config = http::Config { listen: "127.0.0.1:0".into(), ..settings.http };
        let stopped = async {
            let _ = stopped.await;
        };
        let bound = http::serve(config, parts, stopped).await.expect("a free port");
        Self { world, hub, shared, readiness, address: bound.address, stop: Some(stop), task: bound.task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client that was welcomed.
    pub async fn client(&self) -> ws::Client {
        let mut client = ws::Client::connect(&format!("ws://{}/ws", self.address)).await;
        client.next_of("welcome").await;
        client
    }

    /// A client with one live subscription, past its snapshot.
    pub async fn subscriber(&self, channel: &str) -> ws::Client {
        let mut client = self.client().await;
        client.send(serde_json::json!({ "type": "subscribe", "channel": channel })).await;
        client.next_of("subscribed").await;
        client.next_of("snapshot").await;
        client
    }

    /// Waits until a snapshot is being read.
    pub async fn snapshot_began(&self) {
        patiently("a snapshot", self.world.snapshot_began.notified()).await;
    }
}

/// Nobody can say who he is, and there is no database behind it.
fn nobody() -> Arc<Auth> {
    let url = DatabaseUrl::parse("postgres://nobody@127.0.0.1:1/none", "nobody").expect("a URL");
    let store = Store::new(&url, Default::default());
    Arc::new(Auth::new(Default::default(), Default::default(), store, Arc::new(|| 0), None).expect("nothing is named"))
}
