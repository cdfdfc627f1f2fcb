//! One binary for all tests that need a database, a socket or the whole program; a module per behaviour.

mod kit;

mod embedded;
mod kit_itself;
mod rates;
