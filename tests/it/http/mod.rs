//! The HTTP server: REST, event streams, upgrades, pages, over the small world of `native`.

mod documents;
mod health;
mod pages;
mod rest;
mod sockets;
mod stream;
