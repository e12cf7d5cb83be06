//! A real server process on a free port, in a folder of its own.

use std::fs;
use std::future::Future;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Calls;

/// How long a process may take to start, to stop, or peers to agree, before a test fails: far more than they need.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct PeerOptions {
    /// The topics whose databases it holds.
    pub topics: Vec<String>,
    /// The peers that it calls.
    pub peers: Vec<String>,
    /// What else it is told.
    pub arguments: Vec<String>,
}

impl PeerOptions {
    /// A peer that holds the open database of one topic.
    pub fn topic(name: &str) -> Self {
        Self { topics: vec![name.to_owned()], ..Self::default() }
    }
}

/// A server process; killed when dropped.
#[derive(Debug)]
pub struct Peer {
    program: PathBuf,
    folder: TempDir,
    child: Child,
    address: String,
}

impl Peer {
    /// Starts a server with a new, empty store and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(program: impl AsRef<Path>, options: &PeerOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let program = program.as_ref().to_owned();
        let (child, address) = launch(&program, folder.path(), options);
        Self { program, folder, child, address }
    }

    /// Where it serves gRPC.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder of its store.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has logged so far.
    ///
    /// # Panics
    /// If the log cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("the log")
    }

    /// A connection to it.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn calls(&self) -> Calls {
        Calls::connect(&self.address).await
    }

    /// Sends it a signal by name.
    ///
    /// # Panics
    /// If it is not there any more.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill").success(), "the server is not there any more:\n{}", self.log());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it goes on for too long.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the state of the server") {
                return status;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("the server does not stop:\n{}", self.log());
    }

    /// Stops it as Ctrl-C does, and waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("INT");
        self.wait()
    }

    /// Kills it without a chance to clean up.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("the end of the server");
    }

    /// Starts it again on the same store, on another port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, options: &PeerOptions) {
        (self.child, self.address) = launch(&self.program, self.folder.path(), options);
    }

    /// Starts it again on the same store and kills it after `lasting`, wherever it then is.
    ///
    /// # Panics
    /// If it cannot be started or killed.
    pub fn start_and_kill(&mut self, options: &PeerOptions, lasting: Duration) {
        self.child = spawn(&self.program, self.folder.path(), options);
        sleep(lasting);
        self.kill();
    }

    /// Runs a command of the program against this server and gives its output; fails the test if the command fails.
    ///
    /// # Panics
    /// If the command fails.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.try_command(arguments);
        assert!(
            output.status.success(),
            "combdb {arguments:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command of the program against this server.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn try_command(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(&self.program)
            .args(arguments)
            .args(["--server", &self.address])
            .stdin(Stdio::null())
            .output()
            .expect("the program")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
        if std::thread::panicking() {
            let mut log = String::new();
            if let Ok(mut file) = fs::File::open(self.folder.path().join("log")) {
                let _ = file.read_to_string(&mut log);
            }
            eprintln!("--- log of the server at {}:\n{log}", self.address);
        }
    }
}

// The caller waits for the child: a `Peer` does so at the latest when it is dropped.
#[allow(clippy::zombie_processes)]
fn launch(program: &Path, folder: &Path, options: &PeerOptions) -> (Child, String) {
    let mut child = spawn(program, folder, options);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(address) = fs::read_to_string(address_file(folder)) {
            return (child, address);
        }
        if let Some(status) = child.try_wait().expect("the state of the server") {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("the server ended with {status} instead of serving:\n{log}");
        }
        sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    panic!("the server does not start");
}

/// Starts the program and does not wait until it serves.
fn spawn(program: &Path, folder: &Path, options: &PeerOptions) -> Child {
    let address_file = address_file(folder);
    let _ = fs::remove_file(&address_file); // there is none at the first start
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
    let mut command = Command::new(program);
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--log", "info,db_core=debug,db_server=debug"]);
    command.arg("--data").arg(folder.join("data")).arg("--address-file").arg(&address_file);
    for topic in &options.topics {
        command.args(["--topic", topic]);
    }
    for peer in &options.peers {
        command.args(["--peer", peer]);
    }
    command.args(&options.arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn address_file(folder: &Path) -> PathBuf {
    folder.join("address")
}

/// A port that was free a moment ago.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Asks again and again until the answer is yes.
///
/// # Panics
/// If it is not within a minute; `what` names it.
pub async fn eventually<F, A>(what: &str, mut ask: F)
where
    F: FnMut() -> A,
    A: Future<Output = bool>,
{
    let deadline = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
