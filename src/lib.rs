//! rowcast: Postgres in, live updates out. The way of an event, and which module is which stage of
//! it, is in `docs/ARCHITECTURE.md`.

pub mod app;
pub mod auth;
pub mod bench;
pub mod chaos;
pub mod cli;
pub mod client;
pub mod config;
pub mod connection;
pub mod domain;
pub mod embedded;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod hub;
pub mod listener;
pub mod protocol;
pub mod provider;
pub mod rates;
pub mod router;
pub mod scheduler;
pub mod shutdown;
pub mod store;
pub mod telemetry;
