//! The real binary with clean environments: what it says about its configuration, and how it ends.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Stands for every secret. It must never come back.
const CANARY: &str = "canary-3f1d";

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// What the program printed as JSON, one object per line.
    fn objects(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("to write a file");
    }
    folder
}

/// Runs the program in the folder, with these variables and no others. The canary never comes back.
fn stockroom(folder: &TempDir, vars: &[(&str, &str)], arguments: &[&str]) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(arguments)
        .env_clear()
        .envs(vars.iter().copied())
        .current_dir(folder.path())
        .output()
        .expect("to run the program");
    let run = Run {
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("text"),
        stderr: String::from_utf8(stderr).expect("text"),
    };
    let all = format!("{}{}", run.stdout, run.stderr);
    assert!(!all.contains(CANARY), "a secret was shown: {all}");
    run
}

#[test]
fn all_problems_are_named_at_once_and_nothing_is_begun() {
    let dotenv = format!(
        "# the shop\nS3_ENDPOINT=s3.us-west-004.backblazeb2.com\nS3_KEY_ID=\"{CANARY}\nS3_APPLICATION_KEY={CANARY} \n"
    );
    let toml = format!("delivery = \"fast\"\ns3_bukket = \"{CANARY}\"\n");
    let folder = folder(&[(".env", &dotenv), ("stockroom.toml", &toml)]);
    let signing_keys = format!("k:{CANARY}");
    let vars = [
        ("STORAGE_MODE", "hybrid"),
        ("LISTEN", "8080"),
        ("SIGNING_KEYS", signing_keys.as_str()),
    ];
    let run = stockroom(&folder, &vars, &["config"]);
    assert_eq!(run.code, Some(78));
    assert_eq!(run.stdout, "");
    for place in [
        "S3_ENDPOINT (.env line 2) ",
        "S3_KEY_ID (.env line 3) ",
        "S3_APPLICATION_KEY (.env line 4) ",
        "DELIVERY (stockroom.toml line 1) ",
        "s3_bukket (stockroom.toml line 2) ",
        "LISTEN (environment) ",
        "SIGNING_KEYS (environment) ",
        "S3_BUCKET is not set",
    ] {
        assert!(
            run.stderr.contains(place),
            "{place} is missing in:\n{}",
            run.stderr
        );
    }
    assert!(
        run.stderr
            .starts_with("stockroom: the configuration has 9 problems\n")
    );

    let json = stockroom(&folder, &vars, &["config", "--json"]);
    assert_eq!((json.code, json.stderr.as_str()), (Some(78), ""));
    let objects = json.objects();
    assert_eq!(objects.len(), 9);
    let text = |object: &Value, field: &str| object["error"][field].as_str().map(str::to_owned);
    for object in &objects {
        assert_eq!(text(object, "code").as_deref(), Some("configuration"));
        assert!(text(object, "detail").is_some_and(|detail| detail.ends_with('.')));
        assert!(text(object, "fix").is_some_and(|fix| fix.ends_with('.')));
    }
    let named: BTreeSet<_> = objects
        .iter()
        .filter_map(|object| text(object, "variable"))
        .collect();
    assert_eq!(named.len(), 9);
    assert!(!folder.path().join("data").exists());
}

#[test]
fn the_report_shows_values_and_sources_but_no_secret() {
    let dotenv = format!("S3_APPLICATION_KEY={CANARY}$word #1\nDELIVERY=stream\n");
    let folder = folder(&[
        (".env", &dotenv.replace(' ', "")),
        (
            "stockroom.toml",
            "delivery = \"redirect\"\nlisten = \"127.0.0.1:9000\"\n",
        ),
    ]);
    let url = format!("postgres://shop:{CANARY}@db.example/shop");
    let vars = [("DATABASE_URL", url.as_str()), ("MAX_UPLOAD_BYTES", "2GiB")];
    let run = stockroom(&folder, &vars, &["--json", "config"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let lines = run.objects();
    for (name, value, source) in [
        ("DELIVERY", "stream", ".env line 2"),
        ("LISTEN", "127.0.0.1:9000", "stockroom.toml line 2"),
        ("PUBLIC_URL", "http://127.0.0.1:9000", "default"),
        ("MAX_UPLOAD_BYTES", "2GiB", "environment"),
        ("S3_APPLICATION_KEY", "(set, not shown)", ".env line 1"),
        (
            "DATABASE_URL",
            "postgres://shop:***@db.example/shop",
            "environment",
        ),
        ("STORAGE_MODE", "local", "default"),
        ("S3_BUCKET", "none", "default"),
    ] {
        let line = lines.iter().find(|line| line["name"] == name).expect(name);
        assert_eq!(
            (&line["value"], &line["source"]),
            (&value.into(), &source.into()),
            "{name}"
        );
    }

    let table = stockroom(&folder, &vars, &["config"]);
    assert_eq!(table.code, Some(0));
    assert_eq!(table.stdout.lines().count(), lines.len() + 1);
    let delivery = table
        .stdout
        .lines()
        .find(|line| line.starts_with("DELIVERY "));
    let cells: Vec<&str> = delivery.expect("a line").split_whitespace().collect();
    assert_eq!(cells, ["DELIVERY", "stream", ".env", "line", "2"]);
}

#[test]
fn the_environment_covers_both_files() {
    let folder = folder(&[
        (".env", "DELIVERY=stream\n"),
        ("stockroom.toml", "delivery = \"redirect\"\n"),
        ("other.env", "DELIVERY=redirect\n"),
        ("empty.env", ""),
        ("other.toml", "delivery = \"stream\"\n"),
    ]);
    let delivery = |vars: &[(&str, &str)], arguments: &[&str]| {
        let arguments = [&["config", "--json"], arguments].concat();
        let run = stockroom(&folder, vars, &arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let lines = run.objects();
        let line = lines
            .iter()
            .find(|line| line["name"] == "DELIVERY")
            .expect("a line");
        format!("{} {}", line["value"], line["source"]).replace('"', "")
    };
    assert_eq!(delivery(&[("DELIVERY", "auto")], &[]), "auto environment");
    assert_eq!(delivery(&[], &[]), "stream .env line 1");
    assert_eq!(
        delivery(&[], &["--env-file", "other.env"]),
        "redirect other.env line 1"
    );
    let toml = ["--env-file", "empty.env", "--config", "other.toml"];
    assert_eq!(delivery(&[], &toml), "stream other.toml line 1");
}

#[test]
fn a_bad_command_line_is_a_usage_error() {
    let folder = folder(&[]);
    for arguments in [
        &["no-such-command"][..],
        &["config", "--no-such-option"],
        &[],
    ] {
        let run = stockroom(&folder, &[], arguments);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(run.stderr.contains("stockroom"), "{}", run.stderr);
    }
    let run = stockroom(&folder, &[], &["--json", "no-such-command"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(2), ""));
    assert_eq!(run.objects()[0]["error"]["code"], "usage");
    // A command line is judged before the configuration.
    let run = stockroom(&folder, &[("LISTEN", "nonsense")], &["no-such-command"]);
    assert_eq!(run.code, Some(2));
}

#[test]
fn help_and_version_need_no_configuration() {
    let folder = folder(&[]);
    for argument in ["--help", "--version"] {
        let run = stockroom(&folder, &[("LISTEN", "nonsense")], &[argument]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert!(run.stdout.contains("stockroom"), "{}", run.stdout);
    }
}

#[test]
fn a_slip_in_the_environment_is_warned_about_on_stderr_only() {
    let folder = folder(&[]);
    let vars = [("STORAGE_MOD", CANARY)];
    let run = stockroom(&folder, &vars, &["config", "--json"]);
    assert_eq!(run.code, Some(0));
    assert!(
        run.stderr.contains("STORAGE_MOD (environment)"),
        "{}",
        run.stderr
    );
    assert!(
        run.objects()
            .iter()
            .all(|line| line["name"] != "STORAGE_MOD")
    );
    let quiet = stockroom(&folder, &vars, &["config", "-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_who_has_enough_ends_the_program_quietly() {
    let folder = folder(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(["config", "--json"])
        .env_clear()
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("to run the program");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
