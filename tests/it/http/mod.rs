//! The HTTP server: REST, event streams, upgrades, pages, over the small world of `native`.

mod documents;
mod health;
mod limits;
mod pages;
mod rest;
mod siege;
mod sockets;
mod strangers;
mod stream;
mod tls;
