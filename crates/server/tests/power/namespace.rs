//! A mount namespace for one test.
//!
//! The test runs once more, in a process that has a mount namespace of its own. What it mounts is
//! seen by itself and its children alone, and the kernel unmounts it with the last of them, however
//! they end: by a panic, by Ctrl-C or by the kill that ends a test that hangs.

use std::process::Command;

/// Set in the second process: the file by which it shows that the test ran there.
const INSIDE: &str = "STOCKROOM_TEST_INSIDE_NAMESPACE";

/// Runs the body of the test with this path in a mount namespace of its own.
///
/// Where there can be none, it says that `what` is skipped, and why.
pub(crate) fn run(what: &str, test: &str, body: impl FnOnce()) {
    if let Some(marker) = std::env::var_os(INSIDE) {
        std::fs::write(marker, test).unwrap();
        return body();
    }
    let folder = tempfile::tempdir().unwrap();
    let probe = unshare("mount")
        .args(["-t", "tmpfs", "stockroom-test"])
        .arg(folder.path())
        .output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(what, String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => return skip(what, &format!("unshare cannot be run: {error}")),
    }
    let marker = folder.path().join("ran");
    let this_program = std::env::current_exe().unwrap();
    let status = unshare(this_program.to_str().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, &marker)
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its namespace");
    assert!(marker.exists(), "there is no test {test}: nothing was run");
}

/// Says what is not tested on this machine.
pub(crate) fn skip(what: &str, why: &str) {
    println!("SKIPPED: {what}: {why}");
}

/// A command in a new mount namespace. Who is not root becomes it in a namespace of users, which
/// allows file systems in memory, if not loop devices.
fn unshare(program: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private", program]);
    command
}
