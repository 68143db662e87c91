//! Server: a program that listens on loopback while it is needed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::measure::{self, now};
use crate::{Bench, Outcome, say};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server with workers may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// A server that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a program that is going to listen at this address, and waits until it does.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Outcome<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, address };
        let began = now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("a server ended at once: {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err("a server does not answer".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time so far of a server that may have workers.
    pub(crate) fn cpu_of_all(&self) -> Outcome<Duration> {
        measure::cpu_of_all(self.pid())
    }

    /// The most memory in use at once, added up over a server and its workers.
    pub(crate) fn peak_rss_bytes_of_all(&self) -> Outcome<u64> {
        let peaks = self.processes().into_iter().map(measure::peak_rss_bytes);
        let sum: Option<u64> = peaks.sum();
        sum.ok_or_else(|| "a server is gone".into())
    }

    fn processes(&self) -> Vec<u32> {
        measure::with_workers(self.pid())
    }

    /// Asks it to end, and its workers with it, which would stay when it is killed.
    fn ask_to_end(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let asked = pid.map(|pid| kill_process(pid, Signal::TERM));
        if !matches!(asked, Some(Ok(()))) {
            say(&format!(
                "the server {} could not be asked to end",
                self.pid()
            ));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.processes().len() > 1 {
            self.ask_to_end();
            let began = now();
            while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < FAREWELL {
                thread::sleep(Duration::from_millis(10));
            }
        }
        // It has nothing to lose: what it keeps goes with the run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of loopback at which nobody listens.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// An S3 server that keeps each bucket as a folder and each object as a file.
#[derive(Debug)]
pub(crate) struct S3Server {
    pub(crate) server: Server,
    folder: PathBuf,
}

impl S3Server {
    pub(crate) const REGION: &str = "us-east-1";
    pub(crate) const KEY_ID: &str = "TESTKEYID";
    pub(crate) const SECRET: &str = "test-secret-of-a-bench";

    pub(crate) fn start(bench: &Bench) -> Outcome<Self> {
        let program = bench.peers.s3s_fs.as_ref();
        let program = &program
            .ok_or("s3s-fs is missing; scripts/bench installs it")?
            .program;
        let folder = bench.scratch.join("s3");
        std::fs::create_dir_all(&folder)?;
        let address = free_address()?;
        let mut command = Command::new(program);
        command
            .args(["--access-key", Self::KEY_ID, "--secret-key", Self::SECRET])
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .arg(&folder)
            .env("RUST_LOG", "off");
        Ok(Self {
            server: Server::start(&mut command, address)?,
            folder,
        })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Makes an empty bucket; where its objects lie as files.
    pub(crate) fn bucket(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Takes all buckets away, and what the server keeps beside them.
    pub(crate) fn empty(&self) -> Outcome<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }
}

/// All files below a folder, in no order.
pub(crate) fn files_below(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    Ok(files)
}
