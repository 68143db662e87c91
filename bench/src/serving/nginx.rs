//! nginx as a contender: files of a folder for whoever asks. It is no peer: it shows what sending alone costs.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::contender::{Offer, Running, Started};
use super::model_file::ModelFile;
use crate::Outcome;
use crate::peers::Contestant;
use crate::server::{Server, free_address};

/// A connection is not to be closed after some requests, which the others do not do either.
const KEEPALIVE_REQUESTS: u64 = 1_000_000_000;

pub(super) fn start(folder: &Path, program: &Contestant) -> Outcome<Started> {
    let files = folder.join("files");
    fs::create_dir_all(&files)?;
    let address = free_address()?;
    // Its workers would otherwise be of a user who may not see the folder.
    let user = match rustix::process::geteuid().is_root() {
        true => "user root;",
        false => "",
    };
    let here = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {here}/{of};\n"))
        .concat();
    let conf = folder.join("nginx.conf");
    fs::write(
        &conf,
        format!(
            "{user}
worker_processes auto;
daemon off;
pid {here}/nginx.pid;
error_log {here}/error.log;
events {{ worker_connections 1024; }}
http {{
default_type application/octet-stream;
access_log off;
sendfile on;
keepalive_requests {KEEPALIVE_REQUESTS};
{temporary}
server {{ listen {address}; root {here}/files; }}
}}
"
        ),
    )?;
    let mut command = Command::new(&program.program);
    command
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-c")
        .arg(&conf);
    Ok(Started {
        server: Server::start(&mut command, address)?,
        seller: Vec::new(),
        buyer: Vec::new(),
        files,
    })
}

pub(super) fn offer(running: &Running, file: &ModelFile) -> Outcome<Offer> {
    fs::copy(&file.path, running.files.join("model.stl"))?;
    Ok(Offer {
        download: "/model.stl".to_owned(),
        signed: ("GET", "/nothing-is-signed".to_owned()),
    })
}
