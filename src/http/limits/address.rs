//! Who is at the other end: a client's address, through proxies of ours, and the text it is counted under.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, header};
use serde::Deserialize;

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Network {
    base: IpAddr,
    bits: u8,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a network, such as 10.0.0.0/8, nor an address")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base = plain(base.parse().map_err(|_| wrong())?);
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), u8::from_str).map_err(|_| wrong())?;
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { base, bits })
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, plain(address)) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

/// An IPv4 address that came by way of an IPv6 socket is an IPv4 address.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What an address is counted under. Whoever has one IPv6 address has a /64 of them.
pub(super) fn group(address: IpAddr) -> Arc<str> {
    match plain(address) {
        IpAddr::V4(a) => a.to_string().into(),
        IpAddr::V6(a) => format!("{}/64", Ipv6Addr::from_bits(a.to_bits() & !(u128::MAX >> 64))).into(),
    }
}

/// The header in which our proxies say for whom they speak. One only: what they do not write, a client may have.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum ForwardedHeader {
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// RFC 7239.
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// The right-most hop that is none of our proxies: those to its left are hearsay. `true`: it is not the peer.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, which: ForwardedHeader, trusted: &[Network]) -> (IpAddr, bool) {
    let ours = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = plain(peer);
    if !ours(client) {
        return (client, false);
    }
    let name = match which {
        ForwardedHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        ForwardedHeader::Forwarded => header::FORWARDED,
    };
    let lines: Vec<&str> = headers.get_all(name).iter().map(|v| v.to_str().unwrap_or_default()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let said = match which {
            ForwardedHeader::XForwardedFor => Some(hop.trim()),
            ForwardedHeader::Forwarded => hop.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
            }),
        };
        // A hop that cannot be read ("unknown"): the last one known answers for it.
        let Some(hop) = said.and_then(address) else { break };
        client = hop;
        if !ours(client) {
            break;
        }
    }
    (client, client != plain(peer))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner);
    let bare = inner.or_else(|| text.rsplit_once(':').map(|(host, _)| host).filter(|host| !host.contains(':')));
    bare.unwrap_or(text).parse().ok().map(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, inside) in cases {
            assert_eq!(
                network.parse::<Network>().expect("a network").contains(ip(address)),
                inside,
                "{network} {address}"
            );
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0", "host", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_client_is_the_last_hop_that_is_none_of_ours() {
        use ForwardedHeader::{Forwarded, XForwardedFor};
        let cases = [
            // Nobody's proxy: what it says of others does not count.
            (XForwardedFor, "203.0.113.9", "198.51.100.1", "203.0.113.9", false),
            (XForwardedFor, "10.0.0.1", "198.51.100.1", "198.51.100.1", true),
            // Left of the client stands what the client itself sent.
            (XForwardedFor, "10.0.0.1", "127.0.0.1, 198.51.100.1", "198.51.100.1", true),
            (XForwardedFor, "10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1", true),
            (XForwardedFor, "10.0.0.1", "1.1.1.1\n198.51.100.1, 10.0.0.2", "198.51.100.1", true),
            (XForwardedFor, "10.0.0.1", "198.51.100.1\n10.0.0.2\n10.0.0.3", "198.51.100.1", true),
            (XForwardedFor, "10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9", true),
            (XForwardedFor, "10.0.0.1", "198.51.100.1:4711", "198.51.100.1", true),
            (XForwardedFor, "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1", true),
            (XForwardedFor, "10.0.0.1", "2001:db8::1", "2001:db8::1", true),
            (XForwardedFor, "10.0.0.1", "unknown, 10.0.0.2", "10.0.0.2", true),
            (XForwardedFor, "10.0.0.1", "' or 1=1", "10.0.0.1", false),
            (XForwardedFor, "10.0.0.1", "", "10.0.0.1", false),
            (XForwardedFor, "::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1", true),
            (Forwarded, "10.0.0.1", "for=198.51.100.1;proto=https", "198.51.100.1", true),
            (Forwarded, "10.0.0.1", "for=1.1.1.1, For=\"[2001:db8::1]:80\";by=x, for=10.0.0.2", "2001:db8::1", true),
            (Forwarded, "10.0.0.1", "for=_hidden", "10.0.0.1", false),
            (Forwarded, "10.0.0.1", "proto=https", "10.0.0.1", false),
        ];
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        for (which, peer, lines, want, proxied) in cases {
            let mut headers = HeaderMap::new();
            for line in lines.lines() {
                for (name, given) in [("x-forwarded-for", XForwardedFor), ("forwarded", Forwarded)] {
                    let line = if given == which { line } else { "for=6.6.6.6" };
                    headers.append(name, line.parse().expect("a value"));
                }
            }
            assert_eq!(client(ip(peer), &headers, which, &trusted), (ip(want), proxied), "{peer} {lines:?}");
        }
    }

    #[test]
    fn who_has_one_address_of_a_64_has_them_all() {
        for (address, want) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(&*group(ip(address)), want);
        }
    }
}
