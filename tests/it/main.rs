//! One binary for all tests that need a database, a socket or the whole program; a module per behaviour.
#![allow(clippy::disallowed_methods, reason = "tests are the surroundings")]

mod kit;

mod architecture;
mod embedded;
mod kit_itself;
mod listener;
mod shutdown;
