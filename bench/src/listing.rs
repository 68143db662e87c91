//! What a list of all objects takes: its memory is not to grow with their number.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use crate::http::Connection;
use crate::measure::{self, Taken, now, peak_rss_bytes};
use crate::page::Section;
use crate::server::{Server, free_address};
use crate::shop::Shop;
use crate::table::{Table, mib};
use crate::{Bench, Outcome, say};

/// Lists all objects of a small and of a large catalog, on the command line and over HTTP.
pub(crate) fn all(bench: &Bench) -> Outcome<Section> {
    let mut table = Table::new(&["how", "objects", "wall s", "CPU s", "peak RSS MiB"]);
    for count in [bench.catalogued / 100, bench.catalogued] {
        say(&format!("making a catalog of {count} objects"));
        let shop = Shop::of_rows(bench, "listed", count)?;
        let output = shop.folder.join("output");
        for how in ["ls", "ls --json"] {
            let mut command = shop.command(&bench.stockroom.program, None);
            let taken = measure::run(command.args(how.split(' ')), Some(&output))?;
            let lines = bytecount(&output, b'\n')?;
            let expected = count + u64::from(how == "ls");
            if !taken.status.success() || lines != expected {
                return Err(format!("{how} printed {lines} lines: {}", taken.status).into());
            }
            row(&mut table, how, count, taken);
        }
        let pages = over_http(bench, &shop, count)?;
        row(&mut table, "GET /v1/objects", count, pages);
        fs::remove_dir_all(&shop.folder)?;
    }
    Ok(Section {
        name: "list",
        text: vec![
            "A page over HTTP has 100 objects; the figures there are those of the server."
                .to_owned(),
            table.to_string(),
        ],
    })
}

fn row(table: &mut Table, how: &str, count: u64, taken: Taken) {
    table.row([
        format!("`{how}`"),
        count.to_string(),
        format!("{:.1}", taken.wall.as_secs_f64()),
        format!("{:.1}", taken.cpu.as_secs_f64()),
        format!("{:.1}", mib(taken.peak_rss_bytes)),
    ]);
}

/// What all pages take of a server, one after the other.
fn over_http(bench: &Bench, shop: &Shop, count: u64) -> Outcome<Taken> {
    let key = shop.key(&bench.stockroom.program, "operator", None)?;
    let address = free_address()?;
    let mut command = shop.serve(&bench.stockroom.program, None, address);
    let server = Server::start(&mut command, address)?;
    let mut connection = Connection::open(address, &key)?;
    let cpu_before = measure::cpu(server.pid())?;
    let (began, mut seen) = (now(), 0);
    let mut path = "/v1/objects?limit=100".to_owned();
    loop {
        let page = connection.get(&path)?;
        seen += page["data"].as_array().map_or(0, |it| it.len() as u64);
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/objects?limit=100&cursor={next}");
    }
    let wall = began.elapsed();
    if seen != count {
        return Err(format!("{seen} of {count} objects were listed").into());
    }
    Ok(Taken {
        wall,
        cpu: measure::cpu(server.pid())?.saturating_sub(cpu_before),
        peak_rss_bytes: peak_rss_bytes(server.pid()).ok_or("the server is gone")?,
        status: ExitStatus::default(),
    })
}

/// How often a byte is in a file.
fn bytecount(path: &Path, wanted: u8) -> Outcome<u64> {
    let bytes = fs::read(path)?;
    Ok(bytes.iter().filter(|&&it| it == wanted).count() as u64)
}
