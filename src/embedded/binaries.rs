use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// Directories whose children hold one Postgres each, in `bin`: Debian, Fedora, from source, Homebrew.
const SHELVES: [&str; 5] = ["/usr/lib/postgresql", "/usr", "/usr/local", "/opt/homebrew/opt", "/usr/local/opt"];

/// One installed Postgres server.
#[derive(Debug)]
pub struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// `PG_BIN` decides where it is set; else the version that `wanted` (existing data) needs, else the highest.
    #[expect(clippy::disallowed_methods, reason = "PG_BIN is about this machine, not about rowcast")]
    pub fn find(wanted: Option<u32>) -> Result<Self, EmbeddedError> {
        if let Some(dir) = std::env::var_os("PG_BIN").filter(|d| !d.is_empty()) {
            let dir = PathBuf::from(dir);
            return Self::at(&dir).map_err(|reason| EmbeddedError::BadBinaries { dir, reason });
        }
        let mut found: Vec<Self> = SHELVES
            .iter()
            .flat_map(|shelf| std::fs::read_dir(shelf).into_iter().flatten().flatten())
            .map(|entry| entry.path().join("bin"))
            .chain(pg_config())
            .filter(|bin| bin.join("initdb").exists())
            .filter_map(|bin| Self::at(&bin).ok())
            .collect();
        found.sort_by_key(|b| (Some(b.major) == wanted, b.major));
        found.pop().ok_or(EmbeddedError::NoBinaries)
    }

    fn at(dir: &Path) -> Result<Self, String> {
        if !dir.join("initdb").exists() {
            return Err("there is no initdb".into());
        }
        let out = Command::new(dir.join("postgres")).arg("--version").output().map_err(|e| format!("postgres: {e}"))?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let major = major(&said).ok_or_else(|| format!("postgres --version says {said:?}"))?;
        Ok(Self { dir: dir.to_owned(), major })
    }
}

/// Distributions that put the binaries nowhere in particular tell by this.
fn pg_config() -> Option<PathBuf> {
    let out = Command::new("pg_config").arg("--bindir").output().ok().filter(|o| o.status.success())?;
    Some(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))
}

/// 15 of `postgres (PostgreSQL) 15.18 (Debian …)`, 18 of `postgres (PostgreSQL) 18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 13.4", Some(13)),
            ("", None),
        ];
        for (said, expected) in cases {
            assert_eq!(major(said), expected, "{said}");
        }
    }
}
