//! One binary for all tests that need a database, a socket or the whole program; a module per behaviour.
#![allow(clippy::disallowed_methods, reason = "tests are the surroundings")]

mod kit;

mod architecture;
mod browser;
mod cli;
mod embedded;
mod http;
mod kit_itself;
mod native;
mod shutdown;
mod spine;
