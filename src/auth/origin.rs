//! Which pages may open a WebSocket here: channels' AllowedHostsOriginValidator, its URL parser included.
//!
//! A browser sends the origin of the page; a cookie alone would let every page speak in its visitor's name. Nobody else
//! has to send one, so that a client without an origin is a setting of its own.

use std::net::IpAddr;

/// Origins that are allowed, as Django writes them.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    patterns: Vec<String>,
    required: bool,
}

impl Origins {
    /// No patterns: the host that the request is for, and pages of this machine where it is for this machine.
    pub fn new(patterns: &[String], required: bool) -> Self {
        Self { patterns: patterns.to_vec(), required }
    }

    /// `origin` is the last such header, `host` the request's own.
    pub fn allow(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        match origin {
            None => !self.required || self.patterns.iter().any(|p| p == "*"),
            Some(origin) if self.patterns.is_empty() => same_host(origin, host.unwrap_or_default()),
            Some(origin) => listed(&self.patterns, origin),
        }
    }
}

/// Does one of the patterns match?
pub fn listed(patterns: &[String], origin: &str) -> bool {
    let parsed = Url::parse(origin);
    patterns.iter().any(|p| p == "*" || parsed.as_ref().is_some_and(|origin| matches(p, origin)))
}

/// Is the request's own host one of these, as Django's `ALLOWED_HOSTS` has them? Its port does not matter.
pub fn host_listed(patterns: &[String], host: &str) -> bool {
    let name = match host.contains(['@', '/', '?', '#']) {
        true => None,
        false => Url::parse(&format!("//{host}")).and_then(|url| url.host()?.ok()),
    };
    // A name of the DNS may be written with its root.
    let name = name.map(|name| name.strip_suffix('.').map(str::to_owned).unwrap_or(name));
    patterns.iter().any(|p| p == "*" || name.as_ref().is_some_and(|name| same_domain(name, &unported(p))))
}

/// A host's name, of `[::1]` what is within the brackets.
fn unported(pattern: &str) -> String {
    if let Ok(address) = pattern.parse::<IpAddr>() {
        return address.to_string();
    }
    Url::parse(&format!("//{pattern}")).and_then(|url| url.host()?.ok()).unwrap_or_else(|| pattern.to_owned())
}

fn same_host(origin: &str, host: &str) -> bool {
    let (Some(origin), Some(ours)) = (Url::parse(origin), Url::parse(&format!("//{host}"))) else { return false };
    let (Some(Ok(name)), Some(Ok(own))) = (origin.host(), ours.host()) else { return false };
    let is_loopback = |name: &str| matches!(name, "localhost" | "127.0.0.1" | "::1");
    let default = origin.default_port();
    let Ok(ports) = origin.port().and_then(|theirs| Ok((theirs.or(default), ours.port()?.or(default)))) else {
        return false;
    };
    (name == own && ports.0 == ports.1) || (is_loopback(&name) && is_loopback(&own))
}

fn matches(pattern: &str, origin: &Url) -> bool {
    let Some(Ok(host)) = origin.host() else { return false };
    let Some(wanted) = Url::parse(&pattern.to_lowercase()) else { return false };
    if wanted.scheme.is_empty() {
        return same_domain(&host, &unported(pattern));
    }
    let (Ok(ours), Ok(theirs)) = (wanted.port(), origin.port()) else { return false };
    let named = wanted.host().and_then(Result::ok).unwrap_or_default();
    wanted.scheme == origin.scheme
        && ours.or(wanted.default_port()) == theirs.or(origin.default_port())
        && same_domain(&host, &named)
}

/// Django's `is_same_domain`: `.example.com` is the name and everything below it.
fn same_domain(host: &str, pattern: &str) -> bool {
    let pattern = pattern.to_lowercase();
    match pattern.strip_prefix('.') {
        Some(name) => host.ends_with(&pattern) || host == name,
        None => !pattern.is_empty() && host == pattern,
    }
}

/// As Python's `urlparse` sees it.
struct Url {
    scheme: String,
    /// With user and port; None: the text has no `//`.
    place: Option<String>,
}

impl Url {
    /// None: `urlparse` raises.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches(|c: char| c <= ' ');
        let text: String = text.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
        let scheme = text.split_once(':').filter(|(scheme, _)| {
            let mut chars = scheme.chars();
            chars.next().is_some_and(|c| c.is_ascii_alphabetic())
                && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        let (scheme, rest) = scheme.map_or((String::new(), &*text), |(s, rest)| (s.to_ascii_lowercase(), rest));
        let place = rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if let Some(place) = place
            && place.contains('[') != place.contains(']')
        {
            return None;
        }
        Some(Self { scheme, place: place.map(str::to_owned) })
    }

    fn host_and_port(&self) -> Option<(&str, &str)> {
        let place = self.place.as_deref()?;
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        Some(match place.split_once('[') {
            Some((_, bracketed)) => {
                let (host, rest) = bracketed.split_once(']').unwrap_or((bracketed, ""));
                (host, rest.split_once(':').map_or("", |(_, port)| port))
            }
            None => place.split_once(':').unwrap_or((place, "")),
        })
    }

    /// Lower-case; `Some(Err)`: there is none.
    fn host(&self) -> Option<Result<String, ()>> {
        let (host, _) = self.host_and_port()?;
        Some(if host.is_empty() { Err(()) } else { Ok(host.to_lowercase()) })
    }

    /// `Err`: not a port.
    fn port(&self) -> Result<Option<u16>, ()> {
        match self.host_and_port() {
            Some((_, port)) if !port.is_empty() => {
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| port.parse().ok()).flatten().map(Some).ok_or(())
            }
            _ => Ok(None),
        }
    }

    fn default_port(&self) -> Option<u16> {
        match &*self.scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_of_channels_gets_its_verdict() {
        let vectors: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../tests/fixtures/origin_vectors.json")).expect("JSON");
        assert_eq!(vectors.len(), 357);
        let mut wrong = Vec::new();
        for vector in &vectors {
            let patterns: Vec<String> = serde_json::from_value(vector["allowed"].clone()).expect("texts");
            // A header that cannot be read raises there, and is refused here.
            let want = vector["verdict"] == "allow";
            let got = match vector["origin"].as_str() {
                Some(origin) => listed(&patterns, origin),
                None => Origins::new(&patterns, true).allow(None, None),
            };
            if got != want {
                wrong.push(vector.to_string());
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_host_is_one_of_the_names() {
        let patterns = ["Example.com", ".shop.example", "[::1]", "2001:DB8:0::1", "127.0.0.1"].map(str::to_owned);
        for (host, want) in [
            ("example.com", true),
            ("EXAMPLE.com:8080", true),
            ("www.example.com", false),
            ("shop.example", true),
            ("a.b.shop.example:1", true),
            ("evilshop.example", false),
            ("127.0.0.1:8080", true),
            ("127.0.0.1.evil.org", false),
            ("[::1]:8080", true),
            ("[::2]", false),
            ("[2001:db8::1]:8080", true),
            ("2001", false),
            ("example.com.", true),
            ("a.shop.example.:8080", true),
            ("example.com..", false),
            ("user@example.com", false),
            ("example.com/x", false),
            ("[::1", false),
            ("", false),
        ] {
            assert_eq!(host_listed(&patterns, host), want, "{host}");
        }
        assert!(host_listed(&["*".to_owned()], "") && !host_listed(&[], "example.com"));
    }

    #[test]
    fn without_a_list_pages_of_the_same_host_and_of_this_machine() {
        let cases = [
            (None, "example.com", true),
            (Some("https://example.com"), "example.com", true),
            (Some("https://example.com"), "example.com:443", true),
            (Some("https://example.com:8443"), "example.com", false),
            (Some("http://example.com:8080"), "EXAMPLE.com:8080", true),
            (Some("https://evil.org"), "example.com", false),
            (Some("https://example.com.evil.org"), "example.com", false),
            (Some("http://localhost:3000"), "127.0.0.1:8080", true),
            (Some("http://[::1]:3000"), "localhost:8080", true),
            (Some("http://localhost:3000"), "example.com", false),
            (Some("https://evil.org"), "localhost:8080", false),
            (Some("null"), "example.com", false),
            (Some("http://[::1"), "localhost", false),
            (Some("https://example.com"), "", false),
        ];
        let origins = Origins::new(&[], false);
        for (origin, host, want) in cases {
            assert_eq!(origins.allow(origin, Some(host)), want, "{origin:?} to {host}");
        }
        assert!(!Origins::new(&[], true).allow(None, Some("example.com")));
    }
}
