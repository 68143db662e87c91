//! Machine: where figures were seen, without its name.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::Bench;
use crate::page::Section;
use crate::table::mib;

/// What the figures of one run have in common.
pub(crate) fn section(bench: &Bench) -> Section {
    let mut versions = vec![bench.stockroom.version("--version")];
    let Bench { peers, .. } = bench;
    versions.extend(peers.rclone.as_ref().map(|it| it.version("version")));
    versions.extend(
        peers
            .s5cmd
            .as_ref()
            .map(|it| format!("s5cmd {}", it.version("version"))),
    );
    versions.extend(peers.s3s_fs.as_ref().map(|it| it.version("--version")));
    versions.extend(peers.nginx.as_ref().map(|it| {
        let said = it.version("-v");
        said.trim_start_matches("nginx version: ").to_owned()
    }));
    versions.extend(
        peers
            .node
            .as_ref()
            .map(|it| format!("node {}", it.version("--version"))),
    );
    versions.extend(peers.express.as_ref().and_then(|it| packages(it)));
    // It says its version and then how it is used.
    versions.extend(peers.wrk.as_ref().map(|it| {
        let said = it.version("-v");
        let version = said.split(" [").next().unwrap_or_default();
        version.trim().to_owned()
    }));
    Section {
        name: "machine",
        text: vec![
            format!("Seen on {}.", machine()),
            format!("Versions: {}.", versions.join(", ")),
        ],
    }
}

/// The packages beside a script, with their versions.
fn packages(script: &Path) -> Option<String> {
    let package = fs::read(script.with_file_name("package.json")).ok()?;
    let package: Value = serde_json::from_slice(&package).ok()?;
    let packages = package["dependencies"].as_object()?.iter();
    let packages =
        packages.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("unknown")));
    Some(packages.collect::<Vec<_>>().join(", "))
}

/// The machine in a few words.
pub(crate) fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory_kib = field("/proc/meminfo", "MemTotal")
        .and_then(|it| it.strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let memory_gib = mib(memory_kib << 10) / 1024.0;
    format!("{cores} cores of {cpu}, {memory_gib:.0} GiB of memory, Linux {kernel}")
}

/// The value of the first line of a file in `/proc` that begins like this.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
