//! One binary for all tests that need a database, a socket or the whole program; a module per behaviour.
#![allow(clippy::disallowed_methods, reason = "tests are the surroundings")]
#![allow(clippy::type_complexity, reason = "tables of cases")]

mod kit;

mod apps;
mod apps_rest;
mod architecture;
mod auth;
mod browser;
mod chaos;
mod cli;
mod crowd;
mod django;
mod embedded;
mod examples;
mod http;
mod jobs;
mod kit_itself;
mod listener;
mod native;
mod provider;
mod rates;
mod reference;
mod rolling;
mod shutdown;
mod spine;
mod sql;
mod wire;
