use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::{Dir, patiently};

/// The built program, about to be run in an empty directory and with no configuration but what the test gives.
pub struct Binary {
    command: Command,
    dir: Dir,
}

/// The program as a running process; killed when dropped.
pub struct Running {
    child: Child,
    stdout: mpsc::UnboundedReceiver<String>,
    stderr: mpsc::UnboundedReceiver<String>,
    /// `http://127.0.0.1:port`, once `ready` has seen it.
    pub url: String,
    dir: Dir,
}

impl Binary {
    pub fn new(args: &[&str]) -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_rowcast")), args)
    }

    /// An ignored test of this very binary as a process of its own: one that may be killed.
    pub fn of_test(name: &str) -> Self {
        let me = std::env::current_exe().expect("we run");
        Self::of(Command::new(me), &[name, "--exact", "--ignored", "--nocapture"])
    }

    fn of(mut command: Command, args: &[&str]) -> Self {
        let dir = Dir::new("run");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("ROWCAST_") || text.ends_with("DATABASE_URL") || text.starts_with("RUST_LOG") {
                command.env_remove(name);
            }
        }
        // Whoever asks may listen, but where a test is about that.
        command.env("ROWCAST_CONNECTION_OPEN", "true");
        command.args(args).current_dir(dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        Self { command, dir }
    }

    /// Where it is, for what starts it itself.
    pub fn program() -> std::path::PathBuf {
        env!("CARGO_BIN_EXE_rowcast").into()
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A file in the directory that it runs in, such as `rowcast.toml`.
    pub fn file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.dir.path().join(name), content).expect("our own directory");
        self
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// To its end.
    pub async fn output(mut self) -> Output {
        patiently("the program's end", self.command.output()).await.expect("the program was built")
    }

    pub fn start(mut self) -> Running {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the program was built");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Running { child, stdout, stderr, url: String::new(), dir: self.dir }
    }
}

impl Running {
    /// Waits for `rowcast listening on http://HOST:PORT`.
    pub async fn ready(mut self) -> Self {
        let mark = "rowcast listening on ";
        self.url = self.line_with(mark).await[mark.len()..].trim().to_owned();
        self
    }

    pub fn http(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn ws(&self, path: &str) -> String {
        format!("{}{path}", self.url.replacen("http", "ws", 1))
    }

    /// The next line of stdout; None: it was closed.
    pub async fn line(&mut self) -> Option<String> {
        patiently("a line of stdout", self.stdout.recv()).await
    }

    /// The rest of the next line of stdout that has `mark`, from the mark on.
    pub async fn line_with(&mut self, mark: &str) -> String {
        let found = async {
            while let Some(line) = self.stdout.recv().await {
                if let Some(at) = line.find(mark) {
                    return Some(line[at..].to_owned());
                }
            }
            None
        };
        match patiently(mark, found).await {
            Some(line) => line,
            None => panic!("the program ended without {mark}: {}", self.errors().await),
        }
    }

    /// Waits this long for a line of stderr that has `mark`.
    pub async fn error_with(&mut self, mark: &str, limit: Duration) {
        let found = async {
            while let Some(line) = self.stderr.recv().await {
                if line.contains(mark) {
                    return;
                }
            }
            panic!("stderr ended without {mark}");
        };
        assert!(tokio::time::timeout(limit, found).await.is_ok(), "waited {limit:?} in vain for {mark}");
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("not waited for yet")
    }

    /// SIGTERM and friends.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.pid()).expect("a pid fits");
        // SAFETY: two integers; the child has not been waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the process is ours");
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(&mut self) {
        self.signal(libc::SIGKILL);
        self.ended().await;
    }

    pub async fn ended(&mut self) -> ExitStatus {
        patiently("the program's end", self.child.wait()).await.expect("a child of ours")
    }

    /// The same for what measures, and needs its time.
    pub async fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.expect("a child of ours"),
            Err(_) => panic!("the program did not end within {limit:?}"),
        }
    }

    /// All of stdout, once it ended.
    pub async fn output(&mut self) -> String {
        let mut text = String::new();
        while let Some(line) = self.line().await {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// All of stderr, once it ended.
    pub async fn errors(&mut self) -> String {
        let all = async {
            let mut text = String::new();
            while let Some(line) = self.stderr.recv().await {
                text.push_str(&line);
                text.push('\n');
            }
            text
        };
        patiently("the end of stderr", all).await
    }
}

/// Read as they come, so that the program never waits for the test.
fn lines(pipe: impl AsyncRead + Unpin + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (tx, rx) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = tx.send(line); // nobody reads: read on all the same
        }
    });
    rx
}
