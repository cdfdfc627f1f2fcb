//! The address of a database: one parser for libpq's URLs and `key=value` strings, for both clients (the listener's
//! and the store's). Pure: it reads no file and no environment.
//! Grammar and meaning: PostgreSQL documentation, 34.1.1 "Connection Strings" and 34.1.2 "Parameter Key Words".

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to connect and how. Printing it (`{}` and `{:?}`) never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// Never empty; tried in order. Without one in the text: `localhost`.
    pub hosts: Vec<DatabaseHost>,
    pub user: String,
    password: Option<String>,
    pub dbname: String,
    pub ssl_mode: SslMode,
    pub ssl_root_cert: Option<SslRootCert>,
    pub application_name: Option<String>,
    /// Command-line options for the server's session, such as `-c work_mem=8MB`.
    pub options: Option<String>,
    /// `None`: wait as long as the operating system does.
    pub connect_timeout_s: Option<u64>,
    pub keepalives: bool,
    pub keepalives_idle_s: Option<u64>,
    pub keepalives_interval_s: Option<u64>,
    pub keepalives_count: Option<u32>,
    pub tcp_user_timeout_ms: Option<u64>,
    pub channel_binding: ChannelBinding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHost {
    pub place: HostPlace,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPlace {
    /// A name or an address.
    Tcp(String),
    /// The directory of the server's socket `.s.PGSQL.<port>`. Never encrypted, whatever `sslmode` says.
    Socket(PathBuf),
}

/// libpq's `sslmode`. `Require` and below do not verify the server, unless `sslrootcert` names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    /// Plain first, encrypted if the server insists.
    Allow,
    /// Encrypted first, plain if that cannot be had.
    Prefer,
    Require,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// And bear the host's name.
    VerifyFull,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SslRootCert {
    File(PathBuf),
    /// The machine's own trusted authorities. Also what `verify-ca` and `verify-full` use without `sslrootcert`
    /// (libpq would look for `~/.postgresql/root.crt`).
    System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DatabaseUrlError {
    #[error("expected postgres://user:password@host:port/database or 'host=… user=… dbname=…'")]
    Form,
    #[error("'%' in a database URL must be followed by two hexadecimal digits (write a literal one as %25)")]
    Percent,
    #[error("a quoted value has no end: in 'key=value' form, write ' and \\ inside quotes as \\' and \\\\")]
    Quote,
    #[error("unknown database parameter '{0}': {known} are understood", known = KNOWN)]
    Unknown(String),
    #[error("{key} must be {expected}")]
    Value { key: &'static str, expected: &'static str },
    #[error("{ports} ports for {hosts} hosts: give one port, or one for each host")]
    Ports { ports: usize, hosts: usize },
    #[error("sslrootcert=system needs sslmode=verify-full: anyone can get a certificate for some other name")]
    WeakSystem,
}

const KNOWN: &str = "host, port, user, password, dbname, sslmode, sslrootcert, application_name, connect_timeout, \
                     keepalives, keepalives_idle, keepalives_interval, keepalives_count, tcp_user_timeout, options, \
                     channel_binding, target_session_attrs, gssencmode and client_encoding";

const PORT: u16 = 5432;

impl DatabaseUrl {
    /// Reads a URL (`postgres://…`, `postgresql://…`) or a `key=value` string. `default_user` stands where the text
    /// names no user; the database's name defaults to the user's.
    pub fn parse(text: &str, default_user: &str) -> Result<Self, DatabaseUrlError> {
        let text = text.trim();
        let mut raw = Raw::default();
        match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            Some(rest) => read_url(rest, &mut raw)?,
            None => read_pairs(text, &mut raw)?,
        }
        raw.finish(default_user)
    }

    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Takes a password from elsewhere (`PGPASSWORD`) where the text has none.
    pub fn or_password(mut self, password: Option<String>) -> Self {
        self.password = self.password.or(password);
        self
    }

    /// The address as a URL that is safe to print.
    pub fn redacted(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.password.is_some() { ":***" } else { "" };
        write!(f, "postgres://{}{secret}@", self.user)?;
        for (i, DatabaseHost { place, port }) in self.hosts.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "," })?;
            match place {
                HostPlace::Tcp(name) if name.contains(':') => write!(f, "[{name}]:{port}")?,
                HostPlace::Tcp(name) => write!(f, "{name}:{port}")?,
                HostPlace::Socket(dir) => write!(f, "{}:{port}", dir.display().to_string().replace('/', "%2F"))?,
            }
        }
        write!(f, "/{}?sslmode={}", self.dbname, self.ssl_mode)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

/// What was said, before defaults. An empty value counts as not said, as in libpq.
#[derive(Default)]
struct Raw {
    hosts: Vec<String>,
    ports: Vec<u16>,
    user: Option<String>,
    password: Option<String>,
    dbname: Option<String>,
    ssl_mode: Option<SslMode>,
    ssl_root_cert: Option<SslRootCert>,
    application_name: Option<String>,
    options: Option<String>,
    connect_timeout_s: Option<u64>,
    keepalives: Option<bool>,
    keepalives_idle_s: Option<u64>,
    keepalives_interval_s: Option<u64>,
    keepalives_count: Option<u32>,
    tcp_user_timeout_ms: Option<u64>,
    channel_binding: Option<ChannelBinding>,
}

impl Raw {
    fn set(&mut self, key: &str, value: &str) -> Result<(), DatabaseUrlError> {
        let text = || Some(value.to_owned());
        if value.is_empty() {
            return if is_known(key) { Ok(()) } else { Err(DatabaseUrlError::Unknown(key.into())) };
        }
        match key {
            "host" => self.hosts = value.split(',').map(str::to_owned).collect(),
            "port" => self.ports = value.split(',').map(port).collect::<Result<_, _>>()?,
            "user" => self.user = text(),
            "password" => self.password = text(),
            "dbname" => self.dbname = text(),
            "sslmode" => self.ssl_mode = Some(ssl_mode(value)?),
            "ssl" => match value {
                "true" => self.ssl_mode = Some(SslMode::Require),
                _ => return Err(DatabaseUrlError::Value { key: "ssl", expected: "true (or use sslmode)" }),
            },
            "sslrootcert" if value == "system" => self.ssl_root_cert = Some(SslRootCert::System),
            "sslrootcert" => self.ssl_root_cert = Some(SslRootCert::File(value.into())),
            "application_name" => self.application_name = text(),
            "options" => self.options = text(),
            "connect_timeout" => self.connect_timeout_s = Some(number("connect_timeout", value)?),
            "keepalives" => self.keepalives = Some(number::<u8>("keepalives", value)? != 0),
            "keepalives_idle" => self.keepalives_idle_s = Some(number("keepalives_idle", value)?),
            "keepalives_interval" => self.keepalives_interval_s = Some(number("keepalives_interval", value)?),
            "keepalives_count" => self.keepalives_count = Some(number("keepalives_count", value)?),
            "tcp_user_timeout" => self.tcp_user_timeout_ms = Some(number("tcp_user_timeout", value)?),
            "channel_binding" => self.channel_binding = Some(channel_binding(value)?),
            // We only work with a server that takes writes, which is what these two ask for.
            "target_session_attrs" if matches!(value, "any" | "read-write" | "primary") => {}
            "target_session_attrs" => {
                let expected = "any, read-write or primary: rowcast works on the primary";
                return Err(DatabaseUrlError::Value { key: "target_session_attrs", expected });
            }
            "gssencmode" if matches!(value, "disable" | "prefer") => {}
            "gssencmode" => {
                return Err(DatabaseUrlError::Value { key: "gssencmode", expected: "disable: rowcast knows no GSS" });
            }
            "client_encoding" if matches!(&*value.to_ascii_lowercase(), "utf8" | "utf-8" | "auto") => {}
            "client_encoding" => {
                return Err(DatabaseUrlError::Value { key: "client_encoding", expected: "UTF8" });
            }
            _ => return Err(DatabaseUrlError::Unknown(key.into())),
        }
        Ok(())
    }

    fn finish(self, default_user: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        let names = if self.hosts.is_empty() { vec![String::new()] } else { self.hosts };
        if self.ports.len() > 1 && self.ports.len() != names.len() {
            return Err(DatabaseUrlError::Ports { ports: self.ports.len(), hosts: names.len() });
        }
        let hosts = names.into_iter().enumerate().map(|(i, name)| DatabaseHost {
            port: *self.ports.get(i).or(self.ports.first()).unwrap_or(&PORT),
            place: match &*name {
                "" => HostPlace::Tcp("localhost".into()),
                dir if dir.starts_with('/') => HostPlace::Socket(dir.into()),
                _ => HostPlace::Tcp(name),
            },
        });
        let system = self.ssl_root_cert == Some(SslRootCert::System);
        let ssl_mode = self.ssl_mode.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
        if system && ssl_mode != SslMode::VerifyFull {
            return Err(DatabaseUrlError::WeakSystem);
        }
        let user = self.user.unwrap_or_else(|| default_user.to_owned());
        Ok(DatabaseUrl {
            hosts: hosts.collect(),
            dbname: self.dbname.unwrap_or_else(|| user.clone()),
            user,
            password: self.password,
            ssl_mode,
            ssl_root_cert: self.ssl_root_cert,
            application_name: self.application_name,
            options: self.options,
            connect_timeout_s: self.connect_timeout_s.filter(|&s| s > 0),
            keepalives: self.keepalives.unwrap_or(true),
            keepalives_idle_s: self.keepalives_idle_s.filter(|&s| s > 0),
            keepalives_interval_s: self.keepalives_interval_s.filter(|&s| s > 0),
            keepalives_count: self.keepalives_count.filter(|&n| n > 0),
            tcp_user_timeout_ms: self.tcp_user_timeout_ms.filter(|&ms| ms > 0),
            channel_binding: self.channel_binding.unwrap_or(ChannelBinding::Prefer),
        })
    }
}

fn is_known(key: &str) -> bool {
    key == "ssl" || KNOWN.split([',', ' ']).any(|known| known == key && known != "and")
}

fn port(text: &str) -> Result<u16, DatabaseUrlError> {
    match text {
        "" => Ok(PORT),
        _ => {
            text.parse().ok().filter(|&p| p > 0).ok_or(DatabaseUrlError::Value { key: "port", expected: "1 to 65535" })
        }
    }
}

fn number<T: FromStr>(key: &'static str, value: &str) -> Result<T, DatabaseUrlError> {
    value.trim().parse().map_err(|_| DatabaseUrlError::Value { key, expected: "a whole number, 0 or more" })
}

fn ssl_mode(value: &str) -> Result<SslMode, DatabaseUrlError> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            let expected = "disable, allow, prefer, require, verify-ca or verify-full";
            return Err(DatabaseUrlError::Value { key: "sslmode", expected });
        }
    })
}

fn channel_binding(value: &str) -> Result<ChannelBinding, DatabaseUrlError> {
    Ok(match value {
        "disable" => ChannelBinding::Disable,
        "prefer" => ChannelBinding::Prefer,
        "require" => ChannelBinding::Require,
        _ => {
            return Err(DatabaseUrlError::Value { key: "channel_binding", expected: "disable, prefer or require" });
        }
    })
}

/// `[user[:password]@][host[:port],…][/dbname][?key=value&…]`, after the scheme.
fn read_url(rest: &str, raw: &mut Raw) -> Result<(), DatabaseUrlError> {
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let (authority, dbname) = rest.split_once('/').map_or((rest, ""), |(a, d)| (a, d));
    let (credentials, hosts) = authority.rsplit_once('@').map_or(("", authority), |(c, h)| (c, h));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    raw.set("user", &percent_decoded(user)?)?;
    raw.set("password", &percent_decoded(password)?)?;
    raw.set("dbname", &percent_decoded(dbname)?)?;
    if !hosts.is_empty() {
        for host in hosts.split(',') {
            let (name, port_text) = match host.strip_prefix('[') {
                Some(v6) => {
                    let (name, after) = v6.split_once(']').ok_or(DatabaseUrlError::Form)?;
                    (name, if after.is_empty() { "" } else { after.strip_prefix(':').ok_or(DatabaseUrlError::Form)? })
                }
                None => host.split_once(':').unwrap_or((host, "")),
            };
            raw.hosts.push(percent_decoded(name)?);
            raw.ports.push(port(port_text)?);
        }
    }
    for pair in query.into_iter().flat_map(|q| q.split('&')).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(DatabaseUrlError::Form)?;
        let (key, value) = (percent_decoded(key)?, percent_decoded(value)?);
        if key == "host" && !value.is_empty() && raw.ports.len() > 1 {
            // `host` in the query replaces the authority's list, ports included.
            raw.ports.clear();
        }
        raw.set(&key, &value)?;
    }
    Ok(())
}

/// `key = value key2='quoted \'value\''`.
fn read_pairs(text: &str, raw: &mut Raw) -> Result<(), DatabaseUrlError> {
    let mut rest = text;
    if rest.is_empty() || rest.contains("://") && !rest.contains('=') {
        return Err(DatabaseUrlError::Form);
    }
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(DatabaseUrlError::Form)?;
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(DatabaseUrlError::Form);
        }
        let (value, after) = read_value(after.trim_start())?;
        raw.set(key, &value)?;
        rest = after.trim_start();
    }
    Ok(())
}

fn read_value(text: &str) -> Result<(String, &str), DatabaseUrlError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next().ok_or(DatabaseUrlError::Quote)?.1),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err(DatabaseUrlError::Quote) } else { Ok((value, "")) }
}

fn percent_decoded(text: &str) -> Result<String, DatabaseUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(DatabaseUrlError::Percent) };
        let digit = |b: u8| char::from(b).to_digit(16).ok_or(DatabaseUrlError::Percent);
        bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok().filter(|s| !s.contains('\0')).ok_or(DatabaseUrlError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DatabaseUrl {
        DatabaseUrl::parse(text, "me").unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("postgres://", "postgres://me@localhost:5432/me?sslmode=prefer"),
            ("postgres://ann@db/app", "postgres://ann@db:5432/app?sslmode=prefer"),
            ("postgresql://ann:s3@db:6000", "postgres://ann:***@db:6000/ann?sslmode=prefer"),
            ("postgres://a,b:7,[::1]:8/x", "postgres://me@a:5432,b:7,[::1]:8/x?sslmode=prefer"),
            ("postgres:///db?host=/run/pg&user=x", "postgres://x@%2Frun%2Fpg:5432/db?sslmode=prefer"),
            ("postgres:///db?host=/run/pg&port=54390", "postgres://me@%2Frun%2Fpg:54390/db?sslmode=prefer"),
            ("postgres://%2Frun%2Fpg:9/db", "postgres://me@%2Frun%2Fpg:9/db?sslmode=prefer"),
            ("postgres://u:p@h/d?sslmode=verify-full", "postgres://u:***@h:5432/d?sslmode=verify-full"),
            ("postgres://h/d?ssl=true", "postgres://me@h:5432/d?sslmode=require"),
            ("postgres://h/d?sslrootcert=system", "postgres://me@h:5432/d?sslmode=verify-full"),
            ("postgres://a@b@h/d", "postgres://a@b@h:5432/d?sslmode=prefer"),
            ("postgres://h/d?sslmode=require&channel_binding=require", "postgres://me@h:5432/d?sslmode=require"),
            ("host=h user=ann", "postgres://ann@h:5432/ann?sslmode=prefer"),
            ("host = h  dbname='my db' port=7", "postgres://me@h:7/my db?sslmode=prefer"),
            ("host=/tmp,h port=1,2", "postgres://me@%2Ftmp:1,h:2/me?sslmode=prefer"),
            ("host=h password='' sslmode=allow", "postgres://me@h:5432/me?sslmode=allow"),
            ("host=h target_session_attrs=read-write gssencmode=disable", "postgres://me@h:5432/me?sslmode=prefer"),
        ];
        for (text, printed) in cases {
            assert_eq!(parse(text).to_string(), printed, "{text}");
        }
    }

    #[test]
    fn values_are_decoded() {
        let url = parse("postgres://a%40b:p%3Aw%25@h/d%20b?application_name=x%26y&options=-c%20work_mem%3D8MB");
        assert_eq!((&*url.user, url.password(), &*url.dbname), ("a@b", Some("p:w%"), "d b"));
        assert_eq!(url.application_name.as_deref(), Some("x&y"));
        assert_eq!(url.options.as_deref(), Some("-c work_mem=8MB"));
        let url = parse(r"host=h password='it\'s \\ here' options=-c\ jit=off");
        assert_eq!((url.password(), url.options.as_deref()), (Some(r"it's \ here"), Some("-c jit=off")));
        let url = parse(
            "host=h connect_timeout=0 keepalives=0 keepalives_idle=30 keepalives_interval=5 keepalives_count=3 \
             tcp_user_timeout=9000 sslrootcert=/etc/ca.pem",
        );
        assert_eq!((url.connect_timeout_s, url.keepalives, url.keepalives_idle_s), (None, false, Some(30)));
        assert_eq!((url.keepalives_interval_s, url.keepalives_count), (Some(5), Some(3)));
        assert_eq!(url.tcp_user_timeout_ms, Some(9000));
        assert_eq!(url.ssl_root_cert, Some(SslRootCert::File("/etc/ca.pem".into())));
        assert_eq!(parse("host=h connect_timeout=10").connect_timeout_s, Some(10));
    }

    #[test]
    fn mistakes_get_a_sentence() {
        let value = |key, expected| DatabaseUrlError::Value { key, expected };
        let modes = "disable, allow, prefer, require, verify-ca or verify-full";
        let cases = [
            ("", DatabaseUrlError::Form),
            ("mysql://h/d", DatabaseUrlError::Form),
            ("just words", DatabaseUrlError::Form),
            ("postgres://[::1/d", DatabaseUrlError::Form),
            ("postgres://[::1]5/d", DatabaseUrlError::Form),
            ("postgres://h/d?sslmode", DatabaseUrlError::Form),
            ("postgres://h/%zz", DatabaseUrlError::Percent),
            ("postgres://h/%4", DatabaseUrlError::Percent),
            ("postgres://h/a%00", DatabaseUrlError::Percent),
            ("host='h", DatabaseUrlError::Quote),
            ("postgres://h/d?sslcert=x", DatabaseUrlError::Unknown("sslcert".into())),
            ("host=h nonsense=", DatabaseUrlError::Unknown("nonsense".into())),
            ("postgres://h:0/d", value("port", "1 to 65535")),
            ("postgres://h:http/d", value("port", "1 to 65535")),
            ("host=h sslmode=yes", value("sslmode", modes)),
            ("host=h keepalives_idle=-1", value("keepalives_idle", "a whole number, 0 or more")),
            ("host=h client_encoding=LATIN1", value("client_encoding", "UTF8")),
            ("host=a,b port=1,2,3", DatabaseUrlError::Ports { ports: 3, hosts: 2 }),
            ("host=h sslrootcert=system sslmode=require", DatabaseUrlError::WeakSystem),
        ];
        for (text, error) in cases {
            assert_eq!(DatabaseUrl::parse(text, "me"), Err(error), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        for text in ["postgres://u:hunter2@h/d", "host=h password=hunter2", "postgres://h/d?password=hunter2"] {
            let url = parse(text);
            assert_eq!(url.password(), Some("hunter2"));
            let printed = format!("{url} {url:?} {url:#?} {}", url.redacted());
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        for text in ["postgres://u:hunter2@h:x/d", "host=h password='hunter2", "password=hunter2 oops"] {
            let error = DatabaseUrl::parse(text, "me").expect_err(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        assert_eq!(parse("host=h").or_password(Some("x".into())).password(), Some("x"));
        assert_eq!(parse("host=h password=y").or_password(Some("x".into())).password(), Some("y"));
    }
}
