//! Uploads by form: many small files, three large ones at the same time, and a large one to a bucket. Each turn has a
//! new server and a new folder, so that nobody works beside what another one left.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use super::contender::{Contender, Running, Store, count_of_size, services};
use super::model_file::ModelFile;
use super::rows::{Rows, Turn, measured};
use super::{LARGE_FACETS, MANY, SMALL_FACETS};
use crate::figures::Unit;
use crate::http::{form_around, form_type};
use crate::measure::now;
use crate::page::Section;
use crate::server::S3Server;
use crate::wrk::{Load, Tally};
use crate::{Bench, Measured, Outcome};

const SMALL: (&str, Unit) = ("upload 20 kB by form", Unit::RequestsPerSecond);
const LARGE: (&str, Unit) = ("upload 3 x 256 MiB by form", Unit::MegabytesPerSecond);
const TO_S3: (&str, Unit) = ("upload 256 MiB to S3", Unit::Seconds);

/// How many models the small files go to.
const MODELS: usize = 32;
/// How many large files come at the same time.
const AT_ONCE: usize = 3;

const WARM_UP_SECONDS: u64 = 1;

/// What stands in the place of a number in the name of a file.
const NUMBER: &str = "NUMBER";

/// Small files and large ones to the disk.
pub(crate) fn forms(bench: &Bench) -> Outcome<Measured> {
    let contenders = services(bench);
    let folder = bench.scratch.join("uploaded");
    let small = ModelFile::write(&folder, SMALL_FACETS)?;
    let large = ModelFile::write(&folder, LARGE_FACETS)?;
    let aside = bench.scratch.join("ended");
    let of_small = Rows::of_turns(bench, SMALL, &contenders, |index| {
        let running = contenders[index].start(bench, Store::Disk)?;
        let turn = small_turn(bench, &running, &small)?;
        running.set_aside(&aside)?;
        Ok(turn)
    })?;
    fs::remove_dir_all(aside)?;
    let of_large = Rows::of_turns(bench, LARGE, &contenders, |index| {
        let running = contenders[index].start(bench, Store::Disk)?;
        let turn = large_turn(&running, &large)?;
        running.end()?;
        Ok(turn)
    })?;
    fs::remove_dir_all(folder)?;
    let many = format!(
        "{} bytes to the disk by form, `wrk -t1 -c{MANY} -d{}s`; medians of {} rounds in turns, after one that does \
         not count.",
        small.size_bytes, bench.seconds, bench.rounds
    );
    let few = format!(
        "{} bytes to the disk by form, {AT_ONCE} at the same time; as many rounds.",
        large.size_bytes
    );
    let tables = [of_small.table().to_string(), of_large.table().to_string()];
    let [small_table, large_table] = tables;
    Ok(Measured {
        section: Section {
            name: "forms",
            text: vec![many, small_table, few, large_table],
        },
        figures: [of_small.figures(), of_large.figures()].concat(),
    })
}

/// A large file to a bucket.
pub(crate) fn to_s3(bench: &Bench) -> Outcome<Measured> {
    let contenders = services(bench);
    let folder = bench.scratch.join("uploaded");
    let file = ModelFile::write(&folder, LARGE_FACETS)?;
    let s3 = S3Server::start(bench)?;
    let rows = Rows::of_turns(bench, TO_S3, &contenders, |index| {
        let bucket = s3.bucket("uploaded")?;
        let turn = bucket_turn(bench, &contenders[index], &s3, &bucket, &file)?;
        s3.empty()?;
        Ok(turn)
    })?;
    fs::remove_dir_all(folder)?;
    let what = format!(
        "{} bytes by form to a service that keeps them in a bucket; medians of {} rounds in turns, after one that \
         does not count.",
        file.size_bytes, bench.rounds
    );
    Ok(Measured {
        section: Section {
            name: "to-s3",
            text: vec![what, rows.table().to_string()],
        },
        figures: rows.figures(),
    })
}

/// As many forms as are taken in some seconds.
fn small_turn(bench: &Bench, running: &Running, file: &ModelFile) -> Outcome<Turn> {
    let paths = running.form_paths(MODELS)?;
    let load = |seconds| -> Outcome<Tally> {
        let requests = requests(&paths, &file.path);
        let load = Load {
            url: running.url(&paths[0]),
            headers: &running.seller,
            connections: MANY,
            seconds,
            requests: &requests,
        };
        load.run(bench.wrk()?, &bench.scratch)
    };
    load(WARM_UP_SECONDS)?.expect_success()?;
    rustix::fs::sync();
    let before = running.files_of(file.size_bytes)?;
    let (tally, cpu_s) = measured(&running.server, || load(bench.seconds))?;
    tally.expect_success()?;
    let stored = running.files_of(file.size_bytes)? - before;
    // Beside those that were answered there are those that were under way at the end of it.
    let expected = tally.requests..=tally.requests + 2 * MANY;
    if !expected.contains(&stored) {
        let said = format!("{stored} files for {} answers", tally.requests);
        return Err(said.into());
    }
    Ok(Turn {
        value: tally.requests_per_second(),
        cpu_s: cpu_s / (tally.requests as f64 / 1e4),
        peak_rss_bytes: running.server.peak_rss_bytes_of_all()?,
    })
}

/// Some large files, from the first byte of the first to the answer to the last.
fn large_turn(running: &Running, file: &ModelFile) -> Outcome<Turn> {
    let paths = running.form_paths(AT_ONCE)?;
    let ((answers, wall), cpu_s) = measured(&running.server, || {
        let began = now();
        let answers = uploaded(running, &paths, file)?;
        Ok((answers, began.elapsed()))
    })?;
    for answer in &answers {
        expect_size(running, answer, file)?;
    }
    let stored = running.files_of(file.size_bytes)?;
    if stored != AT_ONCE as u64 {
        return Err(format!("{stored} files were kept of {AT_ONCE}").into());
    }
    let bytes = (file.size_bytes * AT_ONCE as u64) as f64;
    Ok(Turn {
        value: bytes / 1e6 / wall.as_secs_f64(),
        cpu_s: cpu_s / (bytes / 1e9),
        peak_rss_bytes: running.server.peak_rss_bytes_of_all()?,
    })
}

/// The answers to uploads that ran at the same time.
fn uploaded(running: &Running, paths: &[String], file: &ModelFile) -> Outcome<Vec<Value>> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|index| {
                let path = &paths[index % paths.len()];
                let upload = move || {
                    let mut shop = running.connect(&running.seller)?;
                    shop.form(path, &format!("model-{index}.stl"), &file.path)
                };
                // An error of another thread goes as the sentence that it is.
                scope.spawn(move || upload().map_err(|error| error.to_string()))
            })
            .collect();
        let answers = threads.into_iter().map(|thread| match thread.join() {
            Ok(answer) => Ok(answer?),
            Err(_) => Err("an upload panicked".into()),
        });
        answers.collect()
    })
}

fn bucket_turn(
    bench: &Bench,
    contender: &Contender,
    s3: &S3Server,
    bucket: &Path,
    file: &ModelFile,
) -> Outcome<Turn> {
    let name = bucket.file_name().and_then(|it| it.to_str());
    let store = Store::Bucket(s3, name.ok_or("a bucket without a name")?);
    let running = contender.start(bench, store)?;
    let path = running.form_paths(1)?.remove(0);
    let mut shop = running.connect(&running.seller)?;
    let ((answer, wall), cpu_s) = measured(&running.server, || {
        let began = now();
        let answer = shop.form(&path, "model.stl", &file.path)?;
        Ok((answer, began.elapsed()))
    })?;
    expect_size(&running, &answer, file)?;
    let stored = count_of_size(bucket, file.size_bytes)?;
    if stored != 1 {
        return Err(format!("{stored} objects of this size are in the bucket").into());
    }
    let turn = Turn {
        value: wall.as_secs_f64(),
        cpu_s: cpu_s / (file.size_bytes as f64 / 1e9),
        peak_rss_bytes: running.server.peak_rss_bytes_of_all()?,
    };
    running.end()?;
    Ok(turn)
}

fn expect_size(running: &Running, answer: &Value, file: &ModelFile) -> Outcome<()> {
    match running.stored_bytes(answer) {
        Some(size_bytes) if size_bytes == file.size_bytes => Ok(()),
        other => Err(format!("a size of {other:?} was answered, not {}", file.size_bytes).into()),
    }
}

/// Lua that sends a file as a form, each time under another name and to the next path.
fn requests(paths: &[String], file: &Path) -> String {
    let (opening, end) = form_around(&format!("{NUMBER}.stl"));
    let (before, after) = opening.split_once(NUMBER).unwrap_or((&opening, ""));
    let form_type = form_type();
    // Strings of ASCII are written in Lua as in Rust.
    format!(
        "local file = assert(io.open({file:?}, 'rb'))
local content = file:read('*a')
file:close()
local paths = {{ {} }}
local number = 0
wrk.headers['content-type'] = {form_type:?}
request = function()
    number = number + 1
    local body = {before:?} .. number .. {after:?} .. content .. {end:?}
    return wrk.format('POST', paths[number % #paths + 1], nil, body)
end
",
        paths
            .iter()
            .map(|it| format!("{it:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_another_name_and_its_lines_end_as_http_wants() {
        let paths = ["/a".to_owned(), "/b".to_owned()];
        let lua = requests(&paths, Path::new("/tmp/a file.stl"));
        assert!(lua.contains("io.open(\"/tmp/a file.stl\", 'rb')"), "{lua}");
        assert!(lua.contains("{ \"/a\", \"/b\" }"), "{lua}");
        assert!(
            lua.contains("filename=\\\"\" .. number .. \".stl\\\"\\r\\n"),
            "{lua}"
        );
        assert!(lua.contains("content .. \"\\r\\n--"), "{lua}");
        assert!(!lua.contains(NUMBER), "{lua}");
    }
}
