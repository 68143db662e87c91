//! What the commands print: where the server lives, with a bucket that refuses, and with settings
//! that cannot be used.

use std::process::Command;

use chaos_s3::{ChaosS3, Options};

use crate::evidence::{Evidence, secret};
use crate::job::{Shop, use_link};
use crate::site::{Answer, Site};

/// Every command that tells of settings, keys, links or stores, in words or as JSON.
pub(crate) async fn ask(site: &mut Site, shop: &Shop, form: &[&str]) {
    // A link is made for the place where the server is, as on a machine that has a name.
    let listen = site.address().to_owned();
    site.set("LISTEN", &listen);
    let signing_key = secret("SIGNING_KEYS-not-a-real-secret");
    for arguments in [
        &["config"][..],
        &["doctor"],
        &["check"],
        &["ls"],
        &["stat", "temp/a b"],
        &["explain", "A-1", "--deep"],
        &["verify"],
        &["key", "list"],
        // A secret where an id belongs.
        &["key", "revoke", &shop.service],
        &["explain", &shop.service],
        &["signing-key", "list"],
        &["signing-key", "retire", &signing_key],
        &["signing-key", "rotate"],
    ] {
        let printed = site.run(&[arguments, form].concat());
        // 101 is the end by a panic.
        assert!(
            printed.code.is_some_and(|code| code != 101),
            "{arguments:?}"
        );
    }
    site.reload();
    let arguments = [&["sign", "temp/a b"], form].concat();
    let printed = site.run(&arguments);
    assert_eq!(printed.code, Some(0), "{}", printed.stdout);
    let url = match serde_json::from_str::<serde_json::Value>(&printed.stdout) {
        Ok(signed) => signed["url"].as_str().unwrap().to_owned(),
        Err(_) => printed.stdout.trim().to_owned(),
    };
    let shown = Answer {
        status: 200,
        location: None,
        body: Vec::new(),
        place: printed.place,
    };
    use_link(site, &format!("the link of {arguments:?}"), &url, &shown).await;
}

/// Runs a command in a folder of its own, with these settings and these files.
fn run(
    evidence: &mut Evidence,
    settings: &[(&str, String)],
    files: &[(&str, String)],
    arguments: &[&str],
) -> i32 {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().cloned())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let what = format!(
        "{arguments:?} with {:?}",
        settings.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    evidence.add(&format!("stdout of {what}"), output.stdout);
    evidence.add(&format!("stderr of {what}"), output.stderr);
    output.status.code().expect("an exit code")
}

const COMMANDS: [&[&str]; 4] = [
    &["config"],
    &["config", "--json"],
    &["serve"],
    &["doctor", "--json"],
];

/// Settings for which the secret would be a value like others: folders, and the halves of a key.
const TAKES_ANY_TEXT: [&str; 4] = ["DATA_DIR", "STORAGE_DIR", "S3_KEY_ID", "S3_APPLICATION_KEY"];

/// The names of all settings, as the program itself lists them.
fn names_of_settings() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(["config", "--json"])
        .env_clear()
        .current_dir(folder.path())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(names.len() > 30, "{names:?}");
    names
}

/// Secrets in settings where they do not fit. Every one is a problem, and none is repeated.
pub(crate) fn misconfigure(evidence: &mut Evidence) {
    let value = secret("a-bad-value");
    evidence.watch("a bad value", &value);
    let names = names_of_settings();
    let all: Vec<(&str, String)> = names
        .iter()
        .filter(|name| !TAKES_ANY_TEXT.contains(&name.as_str()))
        .map(|name| (name.as_str(), value.clone()))
        .collect();
    let blank: Vec<(&str, String)> = [
        "S3_KEY_ID",
        "S3_APPLICATION_KEY",
        "SIGNING_KEYS",
        "PURCHASE_WEBHOOK_SECRETS",
        "STRIPE_WEBHOOK_SECRETS",
        "DATABASE_URL",
    ]
    .iter()
    .map(|name| (*name, format!("{value} ")))
    .collect();
    let urls: Vec<(&str, String)> = [
        "S3_ENDPOINT",
        "S3_PUBLIC_ENDPOINT",
        "PUBLIC_URL",
        "CORS_ORIGINS",
    ]
    .iter()
    .map(|name| {
        (
            *name,
            format!("https://user:{value}@example.com/?token={value}"),
        )
    })
    .collect();
    // A secret where the path of its file belongs.
    let files: Vec<(&str, String)> = [
        "S3_KEY_ID_FILE",
        "S3_APPLICATION_KEY_FILE",
        "SIGNING_KEYS_FILE",
        "DATABASE_URL_FILE",
        "PURCHASE_WEBHOOK_SECRETS_FILE",
        "STRIPE_WEBHOOK_SECRETS_FILE",
    ]
    .iter()
    .map(|name| (*name, value.clone()))
    .collect();
    let databases = [
        format!("postgres://user:{value}@host/a#b"),
        format!("postgres://user:pa/{value}@host/a"),
        format!("postgres://user:{value}@/a"),
        format!("postgres://user:{value}@host:port/a"),
        format!("mysql://user:{value}@host/a"),
        format!("sqlite://{value}?mode=ro"),
    ];
    let mut kinds = vec![all, blank, urls, files];
    kinds.extend(databases.map(|url| vec![("DATABASE_URL", url)]));
    for settings in &kinds {
        for arguments in COMMANDS {
            let code = run(evidence, settings, &[], arguments);
            assert_eq!(code, 78, "{arguments:?} {settings:?}");
        }
    }
    for (name, content) in [
        (
            ".env",
            format!(
                "{value}\n1{value}=1\nS3_APPLICATION_KEY=\"{value}\nLOG={value}\nS3_SECRET={value}\nS3_KEY_ID={value}\nS3_KEY_ID={value}\n"
            ),
        ),
        (
            ".env",
            format!("export {value}\nSTRIPE_WEBHOOK_SECRETS={value} # x\n"),
        ),
        (
            "stockroom.toml",
            format!("s3_application_key = \"{value}\"\ns3_secret = \"{value}\"\n"),
        ),
        ("stockroom.toml", format!("s3_application_key = {value}\n")),
        (
            "stockroom.toml",
            format!("listen = [\"{value}\"]\n[{value}]\n"),
        ),
        ("stockroom.toml", format!("listen = \"{value}\n")),
    ] {
        for arguments in COMMANDS {
            let code = run(evidence, &[], &[(name, content.clone())], arguments);
            assert_eq!(code, 78, "{arguments:?} {name} {content}");
        }
    }
}

/// Secrets that fit where they stand, and that the other side does not take.
pub(crate) async fn be_refused(evidence: &mut Evidence) {
    let chaos = ChaosS3::start(Options::b2()).await.unwrap();
    let value = secret("refused-by-the-bucket");
    evidence.watch("a key that the bucket refuses", &value);
    let password = secret("refused-by-the-database");
    evidence.watch("a password that no database takes", &password);
    let bucket = |key_id: &str, application_key: &str| {
        vec![
            ("STORAGE_MODE", "s3".to_owned()),
            ("S3_ENDPOINT", chaos.endpoint()),
            ("S3_REGION", chaos.region().to_owned()),
            ("S3_BUCKET", chaos.bucket().to_owned()),
            ("S3_KEY_ID", key_id.to_owned()),
            ("S3_APPLICATION_KEY", application_key.to_owned()),
            ("LOG", "trace".to_owned()),
        ]
    };
    let encoded = password
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let database = |rest: &str| {
        vec![
            (
                "DATABASE_URL",
                format!("postgres://user:{encoded}@127.0.0.1:9/shop{rest}"),
            ),
            ("LOG", "trace".to_owned()),
        ]
    };
    for (settings, arguments) in [
        (bucket(&value, &value), &["doctor"][..]),
        (bucket(&value, &value), &["check", "--json"]),
        (bucket(chaos.key_id(), &value), &["doctor", "--json"]),
        (bucket(chaos.key_id(), &value), &["check"]),
        (bucket(chaos.key_id(), &value), &["verify"]),
        (bucket(&value, chaos.application_key()), &["doctor"]),
        (database(""), &["serve"]),
        (database(""), &["doctor", "--json"]),
        (database(""), &["key", "list"]),
        (
            database(&format!("?sslpassword={encoded}")),
            &["key", "list", "--json"],
        ),
    ] {
        let code = run(evidence, &settings, &[], arguments);
        assert_eq!(code, 1, "{arguments:?}");
    }
    for settings in [
        database(""),
        database(&format!("?password={encoded}")),
        bucket(&value, &value),
    ] {
        assert_eq!(run(evidence, &settings, &[], &["config"]), 0);
    }
}
