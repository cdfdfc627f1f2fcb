//! What the tests stand on: a real Postgres, a database per test, a fault proxy, clients, the program.
//!
//! Tests wait on signals. Every wait in here is bounded, and panics with what it waited for.
#![allow(dead_code, unused_imports)]

mod cluster;
mod db;
mod dir;
mod program;
mod server;
pub mod sse;
mod wait;
pub mod ws;

pub use cluster::{OwnCluster, cluster};
pub use db::{APP_ROLE, TestDb};
pub use dir::Dir;
pub use program::{Binary, Running};
pub use rowcast::chaos::Proxy;
pub use server::Server;
pub use wait::{PATIENCE, http_client, install_tls, patiently, wait_until};
