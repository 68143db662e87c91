//! The configuration as a whole: layers, precedence, all problems at once, nothing secret shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use stockroom_storage::{Ack, Mode, ReadOrder};
use tempfile::TempDir;

use super::*;

/// A working directory and the variables of a process.
struct Setup {
    folder: TempDir,
    environment: Environment,
}

impl Setup {
    fn new(vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()));
        let environment = Environment {
            vars: vars.collect::<BTreeMap<_, _>>(),
            working_dir: folder.path().to_owned(),
            ..Environment::default()
        };
        Self {
            folder,
            environment,
        }
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).expect("to write a file");
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Loaded {
        match Config::load(&self.environment) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{}", shown(&problems)),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let problems = Config::load(&self.environment).expect_err("problems");
        assert!(!problems.is_empty());
        problems
    }

    /// The settings that have a problem, sorted.
    fn blamed(&self) -> Vec<String> {
        let mut blamed: Vec<String> = self
            .problems()
            .into_iter()
            .map(|problem| {
                problem
                    .variable
                    .unwrap_or_else(|| problem.source.to_string())
            })
            .collect();
        blamed.sort();
        blamed
    }
}

fn shown(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

fn line<'a>(loaded: &'a Loaded, name: &str) -> &'a ReportLine {
    let mut lines = loaded.report().iter().filter(|line| line.name == name);
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("{name} is not in the report"));
    assert_eq!(lines.next(), None, "{name} is in the report twice");
    line
}

const S3: [(&str, &str); 5] = [
    ("STORAGE_MODE", "s3"),
    ("S3_ENDPOINT", "https://s3.us-west-004.backblazeb2.com"),
    ("S3_BUCKET", "my-shop-files"),
    ("S3_KEY_ID", "canary-key-id"),
    ("S3_APPLICATION_KEY", "canary-application-key"),
];

#[test]
fn nothing_set_is_the_embedded_default() {
    let setup = Setup::new(&[]);
    let loaded = setup.load();
    let Config {
        data_dir,
        storage,
        engine,
        database,
        http,
        callers,
        signing,
        purchase_events,
        webhooks,
        log,
    } = &loaded.config;
    assert_eq!(data_dir, &setup.path("data"));
    assert_eq!(storage.mode, Mode::Local);
    assert_eq!(storage.dir, setup.path("data/uploads"));
    assert!(storage.s3.is_none());
    assert_eq!(storage.hybrid_read, ReadOrder::LocalFirst);
    assert_eq!(storage.hybrid_ack, Ack::Any);
    assert_eq!(storage.delete_grace, Duration::from_secs(7 * 86_400));
    let expected = EngineSettings {
        concurrency: 8,
        max_bytes_per_second: None,
        scrub_local_bytes_per_day: Some(100_000_000_000),
        scrub_s3_bytes_per_day: Some(1_000_000_000),
    };
    assert_eq!(engine, &expected);
    let path = setup.path("data/stockroom.db");
    assert_eq!(database.shown(), format!("sqlite://{}", path.display()));
    assert_eq!(http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(http.public_url(http.listen), "http://127.0.0.1:8080");
    assert_eq!(http.delivery, Delivery::Auto);
    assert_eq!(http.max_upload_bytes, 10 << 30);
    assert_eq!(http.max_form_files, 100);
    assert_eq!(http.header_timeout, Duration::from_secs(10));
    assert_eq!(http.idle_timeout, Duration::from_secs(60));
    assert_eq!(http.shutdown_grace, Duration::from_secs(30));
    assert_eq!(webhooks, &WebhookSettings::default());
    let expected = CallerSettings {
        rate_limit_per_key: None,
        rate_limit_per_address: None,
        trusted_proxies: Vec::new(),
        cors_origins: CorsOrigins::None,
    };
    assert_eq!(callers, &expected);
    assert!(purchase_events.standard.is_empty() && purchase_events.stripe.is_empty());
    assert_eq!(signing.keys, None);
    assert_eq!(signing.file, setup.path("data/signing-keys"));
    let expected = LogSettings {
        filter: None,
        format: LogFormat::Auto,
    };
    assert_eq!(log, &expected);
    assert!(loaded.warnings.is_empty());
    let untouched = fs::read_dir(setup.folder.path()).expect("a folder").count();
    assert_eq!(untouched, 0, "loading must not write");
}

#[test]
fn the_report_has_every_setting_once_in_the_order_of_the_list() {
    for vars in [&[][..], &S3] {
        let loaded = Setup::new(vars).load();
        let names: Vec<&str> = loaded.report().iter().map(|line| line.name).collect();
        assert_eq!(names, variable::ALL.map(|variable| variable.name));
    }
}

#[test]
fn each_layer_covers_the_ones_below() {
    let layers = |vars: &[(&str, &str)], dotenv: &str, toml: &str| {
        let setup = Setup::new(vars)
            .file(".env", dotenv)
            .file("stockroom.toml", toml);
        let loaded = setup.load();
        let line = line(&loaded, "DELIVERY").clone();
        (line.value, line.source.to_string())
    };
    let found = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let toml = "# shop\ndelivery = \"stream\"\n";
    assert_eq!(layers(&[], "", ""), found("auto", "default"));
    assert_eq!(
        layers(&[], "", toml),
        found("stream", "stockroom.toml line 2")
    );
    let dotenv = "\nDELIVERY=redirect\n";
    assert_eq!(layers(&[], dotenv, toml), found("redirect", ".env line 2"));
    let vars = [("DELIVERY", "auto")];
    assert_eq!(layers(&vars, dotenv, toml), found("auto", "environment"));
}

#[test]
fn other_files_can_be_named_and_then_must_exist() {
    let mut setup = Setup::new(&[])
        .file(".env", "DELIVERY=stream\n")
        .file("stockroom.toml", "max_form_files = 5\n")
        .file("other.env", "DELIVERY=redirect\n")
        .file("other.toml", "max_form_files = 7\n");
    setup.environment.env_file = Some("other.env".into());
    setup.environment.config_file = Some(setup.path("other.toml"));
    let config = setup.load().config;
    assert_eq!(config.http.delivery, Delivery::Redirect);
    assert_eq!(config.http.max_form_files, 7);

    setup.environment.env_file = Some("missing.env".into());
    setup.environment.config_file = Some("missing.toml".into());
    assert_eq!(setup.blamed(), ["missing.env", "missing.toml"]);
}

#[test]
fn a_bucket_is_read_and_nothing_secret_is_shown() {
    let loaded = Setup::new(&S3).load();
    let s3 = loaded.config.storage.s3.as_ref().expect("a bucket");
    assert_eq!(
        s3.endpoint.as_str(),
        "https://s3.us-west-004.backblazeb2.com"
    );
    assert_eq!(s3.region, "us-west-004");
    assert_eq!(s3.bucket, "my-shop-files");
    assert_eq!(s3.key_id.expose(), "canary-key-id");
    assert_eq!(s3.application_key.expose(), "canary-application-key");
    assert!(s3.uses_path_style());
    assert_eq!(
        line(&loaded, "S3_REGION").source,
        Source::DerivedFrom("S3_ENDPOINT")
    );
    assert!(!format!("{loaded:?}").contains("canary"));
    assert_eq!(
        line(&loaded, "S3_APPLICATION_KEY").value,
        "(set, not shown)"
    );
}

#[test]
fn a_mode_names_everything_it_misses_at_once() {
    for mode in ["s3", "hybrid"] {
        let needed = [
            "S3_APPLICATION_KEY",
            "S3_BUCKET",
            "S3_ENDPOINT",
            "S3_KEY_ID",
            "S3_REGION",
        ];
        assert_eq!(Setup::new(&[("STORAGE_MODE", mode)]).blamed(), needed);
        // A template that was not filled in is the same.
        let empty: Vec<(&str, &str)> = needed.iter().map(|name| (*name, "")).collect();
        let setup = Setup::new(&[&empty[..], &[("STORAGE_MODE", mode)]].concat());
        assert_eq!(setup.blamed(), needed);
    }
    // In the mode local the same template is nothing to complain about, nor is a half of one.
    let setup = Setup::new(&[("S3_BUCKET", ""), ("S3_KEY_ID", "canary")]);
    assert!(setup.load().config.storage.s3.is_none());
}

#[test]
fn every_setting_with_a_bad_value_is_named_once_with_its_source() {
    let bad = [
        ("DATA_DIR", "file"),
        ("STORAGE_MODE", "S3"),
        ("STORAGE_DIR", "file"),
        ("S3_ENDPOINT", "s3.us-west-004.backblazeb2.com"),
        ("S3_REGION", "us west"),
        ("S3_BUCKET", "My_Bucket"),
        ("S3_KEY_ID", "\"canary\""),
        ("S3_APPLICATION_KEY", "canary "),
        ("S3_PATH_STYLE", "yes"),
        ("S3_PUBLIC_ENDPOINT", "https://cdn.example.com/bucket"),
        ("S3_CA_FILE", "missing.pem"),
        ("S3_STORE_NAME", "local"),
        ("S3_SECOND_FILE", "missing.env"),
        ("HYBRID_READ", "fastest"),
        ("HYBRID_ACK", "none"),
        ("DELETE_GRACE", "7"),
        ("ENGINE_CONCURRENCY", "0"),
        ("ENGINE_MAX_BYTES_PER_SECOND", "0"),
        ("SCRUB_LOCAL_BYTES_PER_DAY", "none"),
        ("SCRUB_S3_BYTES_PER_DAY", "2000TB"),
        ("DATABASE_URL", "mysql://canary"),
        ("LISTEN", "localhost:8080"),
        ("PUBLIC_URL", "files.example.com"),
        ("DELIVERY", ""),
        ("FILE_CACHE_BYTES", "1KiB"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_FORM_FILES", "many"),
        ("HEADER_TIMEOUT", "1ms"),
        ("IDLE_TIMEOUT", "60"),
        ("SHUTDOWN_GRACE", "-1s"),
        ("RATE_LIMIT_PER_KEY", "100"),
        ("RATE_LIMIT_PER_ADDRESS", "1/h"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("CORS_ORIGINS", "shop.example"),
        ("SIGNING_KEYS", "k:canary"),
        ("PURCHASE_WEBHOOK_SECRETS", "whsec_canary"),
        ("STRIPE_WEBHOOK_SECRETS", "sk_live_canary"),
        ("WEBHOOK_ALLOWED_NETWORKS", "0.0.0.0/0"),
        ("WEBHOOK_CA_FILE", "missing.pem"),
        ("LOG", "inof"),
        ("LOG_FORMAT", "xml"),
    ];
    let mut names = bad.map(|(name, _)| name).to_vec();
    assert_eq!(names, variable::ALL.map(|variable| variable.name));
    names.sort_unstable();

    let setup = Setup::new(&bad).file("file", "");
    assert_eq!(setup.blamed(), names);
    let problems = setup.problems();
    assert!(
        problems
            .iter()
            .all(|problem| problem.source == Source::Environment)
    );
    assert!(!shown(&problems).contains("canary"), "{}", shown(&problems));
    assert!(!format!("{problems:?}").contains("canary"));

    // The same values from the other two files, each at its line.
    let dotenv: String = bad
        .iter()
        .map(|(name, value)| format!("{name}='{value}'\n"))
        .collect();
    let problems = Setup::new(&[])
        .file("file", "")
        .file(".env", dotenv)
        .problems();
    let at = |problem: &Problem| problem.source.to_string();
    for (index, (name, _)) in bad.iter().enumerate() {
        let problem = problems
            .iter()
            .find(|problem| problem.variable.as_deref() == Some(name));
        let source = problem.map(at);
        assert_eq!(source, Some(format!(".env line {}", index + 1)), "{name}");
    }
    let toml: String = bad
        .iter()
        .map(|(name, value)| format!("{} = '''{value}'''\n", name.to_lowercase()))
        .collect();
    let problems = Setup::new(&[])
        .file("file", "")
        .file("stockroom.toml", toml)
        .problems();
    assert_eq!(problems.len(), bad.len());
    assert!(
        problems
            .iter()
            .all(|problem| at(problem).starts_with("stockroom.toml line "))
    );
    assert!(!shown(&problems).contains("canary"));
}

#[test]
fn a_second_bucket_has_a_file_of_its_own() {
    const MAIN: [(&str, &str); 8] = [
        ("STORAGE_MODE", "s3"),
        ("S3_ENDPOINT", "https://s3.us-west-004.backblazeb2.com"),
        ("S3_BUCKET", "first-bucket"),
        ("S3_KEY_ID", "canary-id"),
        ("S3_APPLICATION_KEY", "canary-key"),
        ("S3_PUBLIC_ENDPOINT", "https://cdn.example.com"),
        ("S3_STORE_NAME", "b2"),
        ("S3_SECOND_FILE", "next.env"),
    ];
    const SECOND: &str = "# The shop's next home\nSTORAGE_MODE=local\nS3_STORE_NAME=r2\n\
        S3_ENDPOINT=https://r2.example.com\nS3_REGION=auto\nS3_BUCKET=second-bucket\n\
        S3_KEY_ID=canary-other\nS3_APPLICATION_KEY_FILE=key.txt\n";
    let setup = Setup::new(&MAIN)
        .file("next.env", SECOND)
        .file("key.txt", "canary-other-key\n");
    let loaded = setup.load();
    let storage = &loaded.config.storage;
    let names: Vec<&str> = storage.buckets().map(|it| it.name.as_str()).collect();
    assert_eq!((storage.mode, names), (Mode::S3, vec!["b2", "r2"]));
    assert_eq!(storage.of_the_mode(), ["b2".parse().expect("a name")]);
    let second = storage.second.as_ref().expect("a second bucket");
    assert_eq!(second.bucket, "second-bucket");
    assert_eq!(second.application_key.expose(), "canary-other-key");
    // What stands in other places is about the first bucket only.
    assert!(second.public_endpoint.is_none());
    let report = format!("{:?}", loaded.report());
    assert!(!report.contains("canary"), "{report}");
    let buckets = loaded.report().iter().filter(|it| it.name == "S3_BUCKET");
    let buckets: Vec<String> = buckets
        .map(|it| format!("{} {}", it.value, it.source))
        .collect();
    assert_eq!(
        buckets,
        ["first-bucket environment", "second-bucket next.env line 6"]
    );

    // The command line goes before.
    let mut elsewhere = setup;
    elsewhere.environment.second_file = Some("absent.env".into());
    let problems = shown(&elsewhere.problems());
    assert!(
        problems.starts_with("S3_SECOND_FILE (--target-config) cannot be read"),
        "{problems}"
    );

    for (change, blamed, wrong) in [
        (("S3_STORE_NAME=r2\n", ""), "S3_STORE_NAME", None),
        (
            ("S3_STORE_NAME=r2", "S3_STORE_NAME=b2"),
            "S3_STORE_NAME",
            Some("as well"),
        ),
        (
            ("S3_STORE_NAME=r2", "S3_STORE_NAME=hybrid"),
            "S3_STORE_NAME",
            Some("no name"),
        ),
        (
            ("S3_REGION=auto\n", ""),
            "S3_REGION",
            Some("a second bucket needs it"),
        ),
        (
            ("S3_REGION", "S3_REGON"),
            "S3_REGON",
            Some("is not a setting"),
        ),
        (
            ("S3_BUCKET=second-bucket", "S3_BUCKET"),
            "next.env line 6",
            Some("has no `=`"),
        ),
        (
            ("key.txt", "absent.txt"),
            "S3_APPLICATION_KEY",
            Some("cannot be read"),
        ),
    ] {
        let text = SECOND.replace(change.0, change.1);
        let setup = Setup::new(&MAIN)
            .file("next.env", text)
            .file("key.txt", "canary");
        let Some(wrong) = wrong else {
            // Its usual name is free here.
            let names = setup.load().config.storage;
            assert_eq!(names.second.expect("a bucket").name.as_str(), "s3");
            continue;
        };
        let problems = setup.problems();
        let problem = problems.iter().find(|it| it.detail().contains(wrong));
        let problem = problem.unwrap_or_else(|| panic!("{}", shown(&problems)));
        assert!(problem.detail().contains(blamed), "{problem}");
        assert!(problem.detail().contains("next.env"), "{problem}");
        assert!(!problem.detail().contains("canary"), "{problem}");
    }
    let same = SECOND
        .replace("https://r2.example.com", MAIN[1].1)
        .replace("second-bucket", MAIN[2].1);
    let setup = Setup::new(&MAIN)
        .file("next.env", same)
        .file("key.txt", "canary");
    assert_eq!(setup.blamed(), ["S3_BUCKET"]);
}

#[test]
fn quotes_and_blanks_that_survived_are_named() {
    for value in [
        "\"canary\"",
        "'canary'",
        "`canary`",
        "“canary”",
        " canary",
        "canary\t",
        "canary\u{a0}",
        "can\nary",
        "can ary",
        "\"",
        "cänary",
    ] {
        for name in ["S3_KEY_ID", "S3_APPLICATION_KEY"] {
            let setup = Setup::new(&[(name, value)]);
            assert_eq!(setup.blamed(), [name], "{value:?}");
            assert!(!shown(&setup.problems()).contains("canary"));
        }
    }
}

#[test]
fn a_value_can_stand_in_a_file() {
    let mut vars = S3.to_vec();
    vars.pop();
    vars.push(("S3_APPLICATION_KEY_FILE", "key"));
    for content in ["canary-key", "canary-key\n", "canary-key\r\n"] {
        let setup = Setup::new(&vars).file("key", content);
        let loaded = setup.load();
        let s3 = loaded.config.storage.s3.as_ref().expect("a bucket");
        assert_eq!(s3.application_key.expose(), "canary-key");
        assert_eq!(
            line(&loaded, "S3_APPLICATION_KEY").source.to_string(),
            "file named by S3_APPLICATION_KEY_FILE, environment"
        );
    }
    // More than one line end is content, and the content is refused where it stands.
    for content in ["canary-key\n\n", "", "canary\nkey\n", "\"canary-key\"\n"] {
        let setup = Setup::new(&vars).file("key", content);
        assert_eq!(setup.blamed(), ["S3_APPLICATION_KEY"], "{content:?}");
        assert!(!shown(&setup.problems()).contains("canary"));
    }
    let latin1 = Setup::new(&vars).file("key", b"canary\xe4");
    assert_eq!(latin1.blamed(), ["S3_APPLICATION_KEY"]);
}

#[test]
fn a_secret_in_the_place_of_its_file_is_not_repeated() {
    let mut vars = S3.to_vec();
    vars.pop();
    vars.push(("S3_APPLICATION_KEY_FILE", "canary"));
    let setup = Setup::new(&vars);
    let problems = setup.problems();
    assert_eq!(problems.len(), 1);
    let text = problems[0].to_string();
    assert!(
        text.contains("S3_APPLICATION_KEY_FILE") && !text.contains("canary"),
        "{text}"
    );
}

#[test]
fn a_value_and_a_file_in_one_layer_contradict_each_other() {
    let both = "S3_KEY_ID=a\nS3_KEY_ID_FILE=key\n";
    let setup = Setup::new(&[]).file(".env", both).file("key", "b");
    assert_eq!(setup.blamed(), ["S3_KEY_ID"]);
    // In two layers the upper one counts, whichever form it has.
    let setup = Setup::new(&[("S3_KEY_ID", "a")]).file(".env", "S3_KEY_ID_FILE=missing\n");
    assert_eq!(line(&setup.load(), "S3_KEY_ID").source, Source::Environment);
    let setup = Setup::new(&[("S3_KEY_ID_FILE", "key")])
        .file("key", "b")
        .file(".env", "S3_KEY_ID=a\n");
    let source = line(&setup.load(), "S3_KEY_ID").source.to_string();
    assert_eq!(source, "file named by S3_KEY_ID_FILE, environment");
    // An empty name of a file chooses nothing silently.
    let setup = Setup::new(&[("DATABASE_URL_FILE", "")]);
    assert_eq!(setup.blamed(), ["DATABASE_URL"]);
}

#[test]
fn a_line_that_cannot_be_read_is_reported_once_and_not_as_missing() {
    let dotenv = "STORAGE_MODE=s3\nS3_ENDPOINT=http://127.0.0.1:3900\nS3_REGION=garage\n\
        S3_BUCKET=shop \nS3_KEY_ID=\"canary\nS3_APPLICATION_KEY='canary' # new\nLISTEN=:80\nLISTEN=:81\n\
        canary\nS3 BUCKET=canary\n";
    let setup = Setup::new(&[]).file(".env", dotenv);
    let expected = [
        ".env line 10",
        ".env line 9",
        "LISTEN",
        "S3_APPLICATION_KEY",
        "S3_BUCKET",
        "S3_KEY_ID",
    ];
    assert_eq!(setup.blamed(), expected);
    let text = shown(&setup.problems());
    assert!(!text.contains("canary"), "{text}");
    for at in [
        "S3_BUCKET (.env line 4)",
        "S3_KEY_ID (.env line 5)",
        "LISTEN (.env line 8)",
    ] {
        assert!(text.contains(at), "{text}");
    }
}

#[test]
fn settings_of_other_programs_are_left_alone_in_a_shared_file() {
    let shared = "PORT=3000\nDATABASE_URL=sqlite://shop.db\nJWT='x' # note\nPADDED=x \nPORT=4000\n\
        AWS_REGION=x\nstorage_mode=s3\n";
    let setup = Setup::new(&[]).file(".env", shared);
    assert_eq!(setup.load().config.storage.mode, Mode::Local);
    // A value that goes on over several lines could hide or fake a setting.
    let setup = Setup::new(&[]).file(".env", "CERT=\"-----BEGIN\nDELIVERY=stream\n\"\n");
    assert_eq!(setup.blamed(), [".env line 3", "CERT"]);
}

#[test]
fn names_that_were_meant_for_us_are_not_ignored() {
    let dotenv = "S3_BUKET=canary\nSTORAGE_MODUS=canary\nHYBRID_X=canary\n";
    let setup = Setup::new(&[]).file(".env", dotenv);
    assert_eq!(setup.blamed(), ["HYBRID_X", "S3_BUKET", "STORAGE_MODUS"]);
    let text = shown(&setup.problems());
    assert!(text.contains("If S3_BUCKET is meant"), "{text}");
    assert!(!text.contains("canary"));
    // Kubernetes adds such variables by itself, so in the environment they are allowed.
    let setup = Setup::new(&[("S3_PORT", "tcp://10.0.0.1:80"), ("S3_BUKET", "canary")]);
    let warnings = setup.load().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].variable.as_deref(), Some("S3_BUKET"));
}

#[test]
fn stockroom_toml_is_flat_lower_case_and_ours_alone() {
    let good = "listen = \"0.0.0.0:80\"\nmax_form_files = 9\ns3_path_style = true\n\
        s3_key_id_file = \"key\"\n";
    let loaded = Setup::new(&[])
        .file("stockroom.toml", good)
        .file("key", "k")
        .load();
    assert_eq!(loaded.config.http.max_form_files, 9);
    assert_eq!(line(&loaded, "S3_PATH_STYLE").value, "true");
    assert_eq!(line(&loaded, "S3_KEY_ID").value, "(set, not shown)");

    let bad = "LISTEN = \"127.0.0.1:80\"\nport = 80\nlog = [\"info\"]\ndelete_grace = 1.5\n\
        \"can ary\" = 1\n[storage]\nmode = \"s3\"\n";
    let setup = Setup::new(&[]).file("stockroom.toml", bad);
    let expected = ["DELETE_GRACE", "LISTEN", "LOG", "a key", "port", "storage"];
    assert_eq!(setup.blamed(), expected);
    let text = shown(&setup.problems());
    assert!(text.contains("LISTEN (stockroom.toml line 1)"), "{text}");
    assert!(text.contains("storage (stockroom.toml line 6)"), "{text}");
    assert!(text.contains("If listen is meant"), "{text}");
}

#[test]
fn a_syntax_error_is_reported_without_the_line_it_is_in() {
    for bad in [
        "s3_application_key = \"canary\n",
        "s3_application_key = canary\n",
        // The second half of a value over two lines looks like a key.
        "s3_application_key = 'a\ncanary='\n",
        "canary\n",
        "s3_application_key = 'a' canary\n",
        "s3_application_key = \"can\\ary\"\n",
        "s3_key_id = 'a'\ns3_key_id = 'canary'\n",
    ] {
        let setup =
            Setup::new(&[]).file("stockroom.toml", format!("listen = '127.0.0.1:1'\n{bad}"));
        let problems = setup.problems();
        let text = shown(&problems);
        assert!(text.contains("stockroom.toml line "), "{text}");
        assert!(!text.contains("canary"), "{text}");
        assert!(!format!("{problems:?}").contains("canary"));
    }
}

#[test]
fn a_file_that_is_no_text_or_no_file_is_a_problem() {
    let setup = Setup::new(&[]).file("stockroom.toml", b"listen = '\xff'\n");
    assert_eq!(setup.blamed(), ["stockroom.toml"]);
    let setup = Setup::new(&[]).file(".env", vec![b'#'; 1024 * 1024 + 1]);
    assert_eq!(setup.blamed(), [".env"]);
    let setup = Setup::new(&[]);
    fs::create_dir(setup.path(".env")).expect("a folder");
    assert_eq!(setup.blamed(), [".env"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_a_problem() {
    use std::os::unix::ffi::OsStringExt;
    let mut setup = Setup::new(&[]);
    let latin1 = std::ffi::OsString::from_vec(b"can\xe4ry".to_vec());
    setup
        .environment
        .vars
        .insert("DATA_DIR".to_owned(), latin1.clone());
    // What is not ours may be anything.
    setup.environment.vars.insert("OTHER".to_owned(), latin1);
    assert_eq!(setup.blamed(), ["DATA_DIR"]);
}

#[test]
fn certificates_of_a_private_authority_are_read() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["s3.test".to_owned()]).expect("names");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    let vars = [&S3[..], &[("S3_CA_FILE", "ca.pem")]].concat();
    let loaded = Setup::new(&vars).file("ca.pem", pem.repeat(2)).load();
    let ca = loaded
        .config
        .storage
        .s3
        .and_then(|s3| s3.ca)
        .expect("an authority");
    assert_eq!(ca.pem, pem.repeat(2).as_bytes());

    let cut = &pem[..pem.len() / 2];
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let one_of_two = format!("{pem}{no_certificate}");
    let key = key.serialize_pem();
    for content in ["", "text", cut, no_certificate, &one_of_two, &key] {
        let setup = Setup::new(&vars).file("ca.pem", content);
        assert_eq!(setup.blamed(), ["S3_CA_FILE"], "{content}");
    }
}

#[test]
fn the_password_of_the_database_is_not_in_the_report() {
    let url = "postgres://shop:canary@db.example/shop";
    let loaded = Setup::new(&[("DATABASE_URL", url)]).load();
    assert_eq!(
        line(&loaded, "DATABASE_URL").value,
        "postgres://shop:***@db.example/shop"
    );
    assert_eq!(loaded.config.database.url().expose(), url);
    assert!(!format!("{loaded:?}").contains("canary"));
}

#[test]
fn the_public_url_follows_the_port_that_was_got() {
    let config = Setup::new(&[("LISTEN", "127.0.0.1:0")]).load().config;
    let bound = "127.0.0.1:41234".parse().expect("an address");
    assert_eq!(config.http.public_url(bound), "http://127.0.0.1:41234");
    let vars = [("PUBLIC_URL", "https://files.example.com/shop/")];
    let config = Setup::new(&vars).load().config;
    assert_eq!(
        config.http.public_url(bound),
        "https://files.example.com/shop"
    );
}

#[test]
fn relative_paths_start_from_the_working_directory() {
    let vars = [
        ("DATA_DIR", "./shop/../data"),
        ("STORAGE_DIR", "/srv/files"),
    ];
    let setup = Setup::new(&vars);
    let config = setup.load().config;
    assert_eq!(config.data_dir, setup.path("shop/../data"));
    assert_eq!(config.storage.dir, Path::new("/srv/files"));
}
