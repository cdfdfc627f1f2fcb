//! What a fuzzer feeds: the headers of a proxy that passes on what a client sent.

use std::net::{IpAddr, Ipv4Addr};

use poem::http::{HeaderMap, HeaderValue};

use super::limits::{ForwardedHeader, client_through_anybody};

pub fn forwarded(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value.clone());
            headers.append("forwarded", value);
        }
    }
    for which in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let group = client_through_anybody(peer, &headers, which);
        assert!(!group.is_empty());
    }
}
