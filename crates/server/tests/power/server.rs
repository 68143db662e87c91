//! The real program, as a process that can be stopped in its tracks.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Settings for the program, by name.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// A server in a process of its own. It is killed on drop.
pub(crate) struct Server {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts the program.
    pub(crate) fn spawn(settings: &Settings, folder: &Path) -> Self {
        let mut process = program(settings, folder)
            .args(["--json", "--quiet", "serve"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output }
    }

    /// Waits until it listens; its URL.
    pub(crate) fn url(&mut self) -> String {
        let line = self.output.next().expect("the server ended").unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        format!("http://{}", event["address"].as_str().expect("an address"))
    }

    /// Stops every thread of the process. When this returns, none of them is inside of a system
    /// call: a thread that waits for the disk stops only when the disk has answered.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.process.id());
        for _ in 0..10_000 {
            let mut threads = std::fs::read_dir(&tasks).unwrap();
            if threads.all(|thread| is_stopped(&thread.unwrap().path())) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the server does not stop");
    }

    /// Lets the process go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself. A panic here would hide that of the test.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Makes a key for an operator.
pub(crate) fn operator_key(settings: &Settings, folder: &Path) -> String {
    let output = program(settings, folder)
        .args(["--json", "key", "create", "--role", "operator"])
        .output()
        .unwrap();
    let key: Value = serde_json::from_slice(&output.stdout).unwrap();
    key["key"].as_str().expect("a key").to_owned()
}

fn program(settings: &Settings, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
    command
        .env_clear()
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .current_dir(folder);
    command
}

/// Whether a thread is stopped by a signal, or has ended.
fn is_stopped(thread: &Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(thread.join("stat")) else {
        return true;
    };
    // The state follows the name of the program, which stands in parentheses.
    let state = stat.rsplit(')').next().unwrap().trim_start().chars().next();
    matches!(state, Some('T' | 'Z' | 'X'))
}
