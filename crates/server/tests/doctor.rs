//! Everything that doctor tells apart, each brought about with real servers and real folders.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{AccessKey, Capability, ChaosS3, Fault, FaultAction, Operation, Options};
use futures::stream;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom::doctor::{self, Finding, Severity};
use stockroom::flows::objects;
use stockroom::flows::receive::Intake;
use stockroom::workers::engine;
use stockroom_catalog::{
    Attempt, EndpointRow, EndpointSecret, EndpointUrl, NewEndpoint, Subscriptions,
};
use stockroom_domain::{Clock, EndpointId, Entropy, Key, ManualClock, SystemClock, SystemEntropy};
use stockroom_storage::Metadata;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// The key of the object by which a store is known.
const STORE_ID: &str = "models/.stockroom/store-id";

/// Stands for the secret of every key. It must never come back.
const SECRET: &str = "canary-4b7e";

/// A shop: a folder and its settings.
struct Shop {
    folder: TempDir,
    vars: BTreeMap<String, OsString>,
}

impl Shop {
    fn new(mode: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = Self {
            folder,
            vars: BTreeMap::new(),
        };
        shop.set("STORAGE_MODE", mode)
    }

    /// A shop in the mode s3 with all rights to the bucket of this server.
    fn of(server: &ChaosS3) -> Self {
        Self::new("s3")
            .set("S3_ENDPOINT", &server.endpoint())
            .set("S3_REGION", server.region())
            .set("S3_BUCKET", server.bucket())
            .set("S3_KEY_ID", server.key_id())
            .set("S3_APPLICATION_KEY", server.application_key())
    }

    /// A shop with a bucket that nothing answers for.
    fn at(endpoint: &str) -> Self {
        Self::new("s3")
            .set("S3_ENDPOINT", endpoint)
            .set("S3_REGION", "us-east-1")
            .set("S3_BUCKET", "stockroom-test")
            .set("S3_KEY_ID", "id")
            .set("S3_APPLICATION_KEY", SECRET)
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.into());
        self
    }

    fn trusting(self, ca_pem: &str) -> Self {
        fs::write(self.folder.path().join("ca.pem"), ca_pem).expect("to write a file");
        self.set("S3_CA_FILE", "ca.pem")
    }

    fn config(&self) -> Config {
        let environment = Environment {
            vars: self.vars.clone(),
            working_dir: self.folder.path().to_owned(),
            ..Environment::default()
        };
        Config::load(&environment).expect("settings").config
    }

    async fn examine(&self) -> Vec<Finding> {
        examine(&self.config()).await
    }

    /// The ids of what is wrong, and nothing else.
    async fn wrong(&self) -> Vec<&'static str> {
        ids(&wrong(self.examine().await))
    }

    async fn app(&self) -> App {
        let (clock, entropy) = surroundings();
        assemble(&self.config(), "http://127.0.0.1:8080", clock, entropy)
            .await
            .expect("a running shop")
    }
}

fn surroundings() -> (Arc<dyn Clock>, Arc<dyn Entropy>) {
    (Arc::new(SystemClock), Arc::new(SystemEntropy))
}

async fn examine(config: &Config) -> Vec<Finding> {
    let (clock, entropy) = surroundings();
    let findings = doctor::examine(config, &clock, &entropy).await;
    for finding in &findings {
        assert!(
            !format!("{finding:?}").contains(SECRET),
            "a secret was shown"
        );
        let needs_fix = finding.severity >= Severity::Warning;
        assert_eq!(finding.fix.is_some(), needs_fix, "{finding:?}");
        for text in std::iter::once(&finding.sentence).chain(&finding.fix) {
            assert!(text.ends_with(['.', ')']), "{text}");
            assert!(!text.contains("  ") && !text.contains(".."), "{text}");
        }
    }
    findings
}

/// Warnings and errors. How full the disk of this machine is does not matter.
fn wrong(findings: Vec<Finding>) -> Vec<Finding> {
    let is_wrong = |finding: &Finding| {
        finding.severity >= Severity::Warning && !finding.id.ends_with(".nearly-full")
    };
    findings.into_iter().filter(is_wrong).collect()
}

fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.id).collect()
}

#[track_caller]
fn only(findings: Vec<Finding>) -> Finding {
    let mut wrong = wrong(findings);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    wrong.remove(0)
}

async fn start(options: Options) -> ChaosS3 {
    ChaosS3::start(options).await.expect("a server")
}

/// A port of this machine that nobody listens on.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn a_healthy_shop_has_nothing_wrong_and_nothing_is_left_behind() {
    for options in [
        Options::default(),
        Options::versioned(),
        Options::b2(),
        Options::b2().tls(),
    ] {
        let server = start(options).await;
        let mut shop = Shop::of(&server).set("STORAGE_MODE", "hybrid");
        if let Some(ca_pem) = server.ca_pem() {
            shop = shop.trusting(ca_pem);
        }
        let app = shop.app().await;
        let findings = shop.examine().await;
        assert_eq!(wrong(findings.clone()), []);
        let found = ids(&findings);
        for id in [
            "data.folder",
            "storage.folder",
            "s3.name",
            "s3.port",
            "s3.clock",
            "s3.bucket",
            "s3.key",
            "database",
        ] {
            assert!(found.contains(&id), "{id} is missing in {found:?}");
        }
        assert_eq!(found.contains(&"s3.tls"), server.ca_pem().is_some());
        assert_eq!(server.all_version_count(), 0);
        assert_eq!(server.unfinished_uploads().len(), 0);
        app.catalog.close().await;
    }
}

#[tokio::test]
async fn before_the_first_start_nothing_is_wrong_and_nothing_is_made() {
    let shop = Shop::new("local");
    let findings = shop.examine().await;
    assert_eq!(wrong(findings.clone()), []);
    assert_eq!(ids(&findings), ["data.new", "storage.new", "database.new"]);
    assert_eq!(
        fs::read_dir(shop.folder.path()).expect("a folder").count(),
        0
    );
}

#[tokio::test]
async fn the_way_to_the_server_is_examined_step_by_step() {
    let shop = Shop::at("http://doctor.invalid:9000");
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "s3.name-unknown");
    assert!(finding.sentence.contains("doctor.invalid"), "{finding:?}");

    let server = start(Options::default()).await;
    server.set_online(false).expect("to go offline");
    assert_eq!(Shop::of(&server).wrong().await, ["s3.port-closed"]);

    let plain = start(Options::default()).await;
    let https = plain.endpoint().replace("http://", "https://");
    assert_eq!(Shop::at(&https).wrong().await, ["s3.tls-not-spoken"]);
    let tls = start(Options::default().tls()).await;
    let http = tls.endpoint().replace("https://", "http://");
    assert_eq!(Shop::at(&http).wrong().await, ["s3.no-http"]);

    let b2 = Shop::at("http://s3.eu-central-003.backblazeb2.com");
    assert!(b2.wrong().await.contains(&"s3.plain-http"));
}

/// A server that makes TLS handshakes with this certificate and no more.
async fn handshakes(params: CertificateParams) -> (u16, String) {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client ends it when it does not trust the certificate.
            let _ = acceptor.accept(stream).await;
        }
    });
    (port, certificate.pem())
}

#[tokio::test]
async fn certificates_that_cannot_be_trusted_are_told_apart() {
    let localhost = || CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let elsewhere = CertificateParams::new(vec!["s3.test".to_owned()]).expect("a name");
    let mut expired = localhost();
    expired.not_before = date_time_ymd(2019, 1, 1);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut early = localhost();
    early.not_before = date_time_ymd(2090, 1, 1);
    early.not_after = date_time_ymd(2099, 1, 1);
    for (params, id) in [
        (elsewhere, "s3.tls-wrong-name"),
        (expired, "s3.tls-expired"),
        (early, "s3.tls-not-yet-valid"),
    ] {
        let (port, pem) = handshakes(params).await;
        let shop = Shop::at(&format!("https://localhost:{port}")).trusting(&pem);
        assert_eq!(shop.wrong().await, [id]);
    }

    let (port, _pem) = handshakes(localhost()).await;
    let shop = Shop::at(&format!("https://localhost:{port}"));
    assert_untrusted(shop).await;
    let private = start(Options::default().tls()).await;
    assert_untrusted(Shop::of(&private)).await;
    let other = start(Options::default().tls()).await;
    let ca_pem = other.ca_pem().expect("an authority");
    assert_untrusted(Shop::of(&private).trusting(ca_pem)).await;
}

async fn assert_untrusted(shop: Shop) {
    let finding = only(shop.examine().await);
    if finding.id == "s3.no-authorities" {
        // This machine trusts nobody, so that nothing else can be said.
        return;
    }
    assert_eq!(finding.id, "s3.tls-untrusted");
    assert!(finding.fix.is_some_and(|fix| fix.contains("S3_CA_FILE")));
}

#[tokio::test]
async fn a_clock_that_is_off_is_seen_before_requests_are_refused() {
    for (skew_s, severity) in [
        (120, Severity::Warning),
        (-120, Severity::Warning),
        (1_200, Severity::Error),
        (-1_200, Severity::Error),
    ] {
        let server = start(Options::default().clock_skew(skew_s)).await;
        let finding = only(Shop::of(&server).examine().await);
        assert_eq!((finding.id, finding.severity), ("s3.clock-skew", severity));
        let direction = if skew_s > 0 { "behind" } else { "ahead of" };
        assert!(finding.sentence.contains(direction), "{finding:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_key_region_and_bucket_is_told_apart() {
    for options in [Options::default(), Options::b2()] {
        let server = start(options.region("eu-central-003")).await;
        for (name, value, id, told) in [
            ("S3_KEY_ID", "nobody", "s3.key-unknown", "keyID"),
            (
                "S3_APPLICATION_KEY",
                SECRET,
                "s3.secret-wrong",
                "applicationKey",
            ),
            (
                "S3_REGION",
                "us-west-004",
                "s3.region-wrong",
                "eu-central-003",
            ),
            (
                "S3_BUCKET",
                "another-shop",
                "s3.no-such-bucket",
                "S3_BUCKET",
            ),
        ] {
            let finding = only(Shop::of(&server).set(name, value).examine().await);
            assert_eq!((finding.id, finding.severity), (id, Severity::Error));
            let fix = finding.fix.unwrap_or_default();
            assert!(fix.contains(told), "{fix}");
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_answer_now_is_asked_once() {
    let server = start(Options::default()).await;
    let fault = Fault::new(Operation::ListObjectsV2, FaultAction::slow_down());
    server.fault(fault.forever());
    let finding = only(Shop::of(&server).examine().await);
    assert_eq!(finding.id, "s3.unavailable");
    assert!(finding.sentence.contains("SlowDown"), "{finding:?}");
    assert_eq!(server.count(Operation::ListObjectsV2), 1);
}

#[tokio::test]
async fn a_capability_that_a_key_lacks_is_named() {
    for options in [Options::default(), Options::versioned(), Options::b2()] {
        for (capability, id, name) in [
            (Capability::ListFiles, "s3.key-lacks-list", "listFiles"),
            (Capability::WriteFiles, "s3.key-lacks-write", "writeFiles"),
            (Capability::ReadFiles, "s3.key-lacks-read", "readFiles"),
            (
                Capability::DeleteFiles,
                "s3.key-lacks-delete",
                "deleteFiles",
            ),
        ] {
            let key = AccessKey::new("restricted", SECRET).without(capability);
            let server = start(options.clone().access_key(key)).await;
            let shop = Shop::of(&server)
                .set("S3_KEY_ID", "restricted")
                .set("S3_APPLICATION_KEY", SECRET);
            let finding = only(shop.examine().await);
            assert_eq!((finding.id, finding.severity), (id, Severity::Error));
            assert!(finding.sentence.contains(name), "{finding:?}");
            // What cannot be deleted is named.
            for left in server.keys() {
                assert_eq!(capability, Capability::DeleteFiles);
                assert!(finding.sentence.contains(&left), "{finding:?}");
            }
        }
    }
}

#[tokio::test]
async fn all_missing_capabilities_come_at_once_and_another_bucket_is_one_cause() {
    let key = AccessKey::new("reader", SECRET).only(&[Capability::ListFiles]);
    let elsewhere = AccessKey::new("elsewhere", SECRET).bucket("other-shop");
    let options = Options::b2()
        .another_bucket("other-shop")
        .access_key(key)
        .access_key(elsewhere);
    let server = start(options).await;
    let shop = |key_id: &str| {
        Shop::of(&server)
            .set("S3_KEY_ID", key_id)
            .set("S3_APPLICATION_KEY", SECRET)
    };
    let lacks = ["s3.key-lacks-write", "s3.key-lacks-read"];
    assert_eq!(shop("reader").wrong().await, lacks);
    assert_eq!(shop("elsewhere").wrong().await, ["s3.key-lacks-list"]);
    assert_eq!(server.all_version_count(), 0);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_seen() {
    let shop = Shop::new("local").set("STORAGE_DIR", "disk/uploads");
    fs::write(shop.folder.path().join("disk"), "a file").expect("to write a file");
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "storage.not-writable");
    assert!(finding.sentence.contains("disk is a file"), "{finding:?}");
}

/// Permissions do not bind the superuser, and only the superuser may mount: where a small disk
/// cannot be mounted, the unit tests of the folder's failures have to do.
#[tokio::test]
async fn a_full_and_a_read_only_disk_are_told_apart() {
    let shop = Shop::new("local").set("STORAGE_DIR", "disk");
    let disk = shop.folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let Some(mounted) = Mounted::tmpfs(&disk) else {
        eprintln!("skipped: no disk can be mounted here");
        return;
    };
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "storage.full");
    mounted.make_read_only();
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "storage.not-writable");
    assert!(finding.sentence.contains("read-only"), "{finding:?}");
}

/// A disk of 64 KiB, until it is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(dir: &'a Path) -> Option<Self> {
        let mounted = mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], dir);
        mounted.then_some(Self(dir))
    }

    fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.0));
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn mount(arguments: &[&str], dir: &Path) -> bool {
    let mut command = Command::new("mount");
    let output = command.args(arguments).arg(dir).output();
    output.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_seen() {
    let port = closed_port();
    let url = format!("postgres://shop:{SECRET}@127.0.0.1:{port}/shop");
    let shop = Shop::new("local").set("DATABASE_URL", &url);
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "database.unreachable");

    let shop = Shop::new("local").set("DATABASE_URL", "sqlite://shop.db");
    fs::write(
        shop.folder.path().join("shop.db"),
        "no database ".repeat(100),
    )
    .expect("to write a file");
    assert_eq!(shop.wrong().await, ["database.unreachable"]);
}

/// Stores an object, and gives the place of its bytes.
async fn put(app: &App, key: &str) -> Key {
    let intake = Intake {
        key: key.parse().expect("a key"),
        content_type: "application/octet-stream".to_owned(),
        metadata: Metadata::default(),
        announced_bytes: None,
        expected_sha256: None,
        checker: None,
    };
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"twelve bytes"))]);
    let object = objects::put(app, intake, body).await.expect("an object");
    object.location
}

#[tokio::test]
async fn recorded_files_that_are_gone_or_cut_are_named_with_their_store() {
    let server = start(Options::b2()).await;
    let shop = Shop::of(&server)
        .set("STORAGE_MODE", "hybrid")
        .set("HYBRID_ACK", "both");
    let app = shop.app().await;
    let mut locations = Vec::new();
    for number in 0..50 {
        locations.push(put(&app, &format!("models/{number:02}.stl")).await);
    }
    let findings = shop.examine().await;
    let healthy = findings.iter().find(|finding| finding.id == "objects");
    let sentence = healthy.map(|finding| finding.sentence.as_str());
    assert_eq!(
        sentence,
        Some("80 recorded copies were looked for, and all are there.")
    );

    assert!(server.remove(locations[3].as_str()));
    let finding = only(shop.examine().await);
    assert_eq!(
        (finding.id, finding.severity),
        ("object.missing", Severity::Error)
    );
    assert!(
        finding
            .sentence
            .starts_with("models/03.stl is recorded on s3 "),
        "{finding:?}"
    );

    let uploads = shop.folder.path().join("data/uploads");
    fs::remove_file(uploads.join(locations[5].as_str())).expect("to remove a file");
    fs::write(uploads.join(locations[7].as_str()), "cut").expect("to write a file");
    let wrong = wrong(shop.examine().await);
    assert_eq!(
        ids(&wrong),
        ["object.missing", "object.missing", "object.wrong-size"]
    );
    assert!(
        wrong[1]
            .sentence
            .starts_with("models/05.stl is recorded on local ")
    );
    assert!(
        wrong[2]
            .sentence
            .contains("3 bytes on local, and 12 in the record")
    );

    server.set_online(false).expect("to go offline");
    fs::rename(&uploads, shop.folder.path().join("elsewhere")).expect("to move a folder");
    let expected = ["s3.port-closed", "storage.missing", "object.unseen"];
    assert_eq!(shop.wrong().await, expected);
    app.catalog.close().await;
}

#[tokio::test]
async fn a_store_of_somebody_else_is_one_finding_and_is_not_looked_into() {
    const OTHER: &str = r#"{"store_id": "str_of_somebody_else", "about": ""}"#;
    let server = start(Options::b2()).await;
    let shop = Shop::of(&server)
        .set("STORAGE_MODE", "hybrid")
        .set("HYBRID_ACK", "both");
    let app = shop.app().await;
    let findings = shop.examine().await;
    assert_eq!(wrong(findings.clone()), []);
    let new = findings.iter().filter(|it| it.id == "store.new").count();
    assert_eq!((new, server.versions(STORE_ID).len()), (2, 0));

    while engine::round(&app).await {}
    let location = put(&app, "models/a.stl").await;
    let findings = shop.examine().await;
    assert_eq!(wrong(findings.clone()), []);
    let ours = findings.iter().filter(|it| it.id == "store.identity");
    assert_eq!(ours.count(), 2, "{findings:?}");
    assert!(ids(&findings).contains(&"placements"), "{findings:?}");
    assert_eq!(server.versions(STORE_ID).len(), 1);

    // Another bucket: it has another id, and not the object.
    let label = server.body(STORE_ID).expect("an id");
    server.plant(STORE_ID, OTHER);
    assert!(server.remove(location.as_str()));
    let finding = only(shop.examine().await);
    assert_eq!(
        (finding.id, finding.severity),
        ("store.foreign", Severity::Error)
    );
    assert!(
        finding.sentence.contains("id of another store"),
        "{finding:?}"
    );
    let fix = finding.fix.expect("a fix");
    assert!(fix.contains("S3_BUCKET"), "{fix}");
    assert!(fix.contains("stockroom verify --accept-store s3."), "{fix}");
    assert_eq!(server.body(STORE_ID).expect("an id"), OTHER);

    server.plant(STORE_ID, label);
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "object.missing");
    let fix = finding.fix.expect("a fix");
    assert!(fix.contains("stockroom verify --repair"), "{fix}");

    // Another folder: it has the categories, and neither id nor object.
    server.plant(location.as_str(), "twelve bytes");
    let uploads = shop.folder.path().join("data/uploads");
    fs::rename(&uploads, shop.folder.path().join("elsewhere")).expect("to move a folder");
    fs::create_dir_all(uploads.join("models")).expect("a folder");
    let finding = only(shop.examine().await);
    assert_eq!(finding.id, "store.foreign");
    assert!(finding.sentence.contains("it carries no id"), "{finding:?}");
    assert!(finding.fix.is_some_and(|fix| fix.contains("STORAGE_DIR")));
    assert!(!uploads.join(STORE_ID).exists(), "doctor writes no id");
    app.catalog.close().await;
}

#[tokio::test]
async fn copies_that_are_owed_for_long_are_a_warning() {
    let server = start(Options::b2()).await;
    let shop = Shop::of(&server).set("STORAGE_MODE", "hybrid");
    let app = shop.app().await;
    server.set_online(false).expect("to go offline");
    put(&app, "models/a.stl").await;
    assert_eq!(shop.wrong().await, ["s3.port-closed"]);

    let (_, entropy) = surroundings();
    let later = SystemClock.now().after(Duration::from_secs(3 * 3_600));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(later));
    let findings = doctor::examine(&shop.config(), &clock, &entropy).await;
    let wrong = wrong(findings);
    assert_eq!(ids(&wrong), ["s3.port-closed", "placements.owed"]);
    assert_eq!(wrong[1].severity, Severity::Warning);
    let sentence = &wrong[1].sentence;
    assert_eq!(
        sentence,
        "1 copy on s3 is missing or doubted, the oldest for 3 hours."
    );
    app.catalog.close().await;
}

#[tokio::test]
async fn objects_that_a_change_of_mode_left_behind_are_counted() {
    let server = start(Options::b2()).await;
    let shop = Shop::of(&server).set("STORAGE_MODE", "local");
    let app = shop.app().await;
    for key in ["models/a.stl", "models/b.stl"] {
        put(&app, key).await;
    }
    app.catalog.close().await;
    let left = async |shop: &Shop| {
        let findings = shop.examine().await;
        let left = findings
            .into_iter()
            .filter(|it| it.id == "placements.elsewhere");
        left.map(|it| (it.severity, it.sentence))
            .collect::<Vec<_>>()
    };
    assert_eq!(left(&shop).await, []);
    for mode in ["s3", "hybrid"] {
        let shop = Shop {
            vars: shop.vars.clone(),
            folder: tempfile::tempdir().expect("a folder"),
        }
        .set("STORAGE_MODE", mode)
        .set(
            "DATA_DIR",
            shop.folder.path().join("data").to_str().expect("text"),
        );
        let left = left(&shop).await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].0, Severity::Info);
        assert!(left[0].1.starts_with("2 objects are not on s3"), "{left:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_no_events_is_a_warning() {
    let shop = Shop::new("local");
    let app = shop.app().await;
    let catalog = &app.catalog;
    let long_ago = SystemClock.now().before(Duration::from_secs(2 * 3_600));
    let endpoint = |name: &str, created_at| NewEndpoint {
        id: EndpointId::generate(created_at, &SystemEntropy),
        url: EndpointUrl(format!("https://shop.example/{name}?token={SECRET}")),
        description: None,
        events: Subscriptions::All,
        secret: EndpointSecret(SECRET.to_owned()),
        created_at,
    };
    let [taking, gone, stuck] = ["taking", "gone", "stuck"].map(|name| endpoint(name, long_ago));
    for endpoint in [&taking, &gone, &stuck] {
        catalog
            .insert_endpoint(endpoint)
            .await
            .expect("to store it");
    }
    let of_events = |findings: Vec<Finding>| -> Vec<Finding> {
        let is_of_events = |it: &Finding| it.id.starts_with("events");
        findings.into_iter().filter(is_of_events).collect()
    };
    let fine = of_events(shop.examine().await);
    assert_eq!(fine.len(), 1, "{fine:?}");
    assert_eq!(fine[0].severity, Severity::Ok);

    // What waits for a moment is on its way.
    let now = SystemClock.now();
    catalog.test_endpoint(taking.id, now).await.expect("a test");
    let long_ago = now.before(Duration::from_secs(5 * 3_600));
    catalog
        .test_endpoint(stuck.id, long_ago)
        .await
        .expect("a test");
    let find = async |id| -> EndpointRow {
        let found = catalog.find_endpoint(id).await.expect("a look");
        found.expect("an endpoint")
    };
    catalog
        .disable_endpoint(&find(gone.id).await, "it answered 410", now)
        .await
        .expect("to disable it");
    let findings = wrong(of_events(shop.examine().await));
    let mut seen: Vec<_> = findings
        .iter()
        .map(|finding| (finding.id, finding.sentence.contains(&gone.id.to_string())))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [("events.disabled", true), ("events.waiting", false)]);
    let names_stuck = |it: &Finding| it.sentence.contains(&stuck.id.to_string());
    assert!(findings.iter().any(names_stuck));

    // What was given up is told of until something is taken again.
    let attempt = async |attempt: Attempt| {
        let now = SystemClock.now();
        let claimed =
            catalog.claim_deliveries(stuck.id, now, now.after(Duration::from_secs(60)), 9);
        let claimed = claimed.await.expect("a claim");
        let noted = catalog.note_attempt(stuck.id, &claimed[0], &attempt, now);
        assert!(noted.await.expect("a note"));
        let findings = wrong(of_events(shop.examine().await));
        findings.iter().filter(|it| names_stuck(it)).count()
    };
    let failed = Attempt::Failed {
        status: None,
        error: "no connection".to_owned(),
    };
    assert_eq!(attempt(failed).await, 1);
    catalog.test_endpoint(stuck.id, now).await.expect("a test");
    assert_eq!(attempt(Attempt::Delivered { status: 204 }).await, 0);
    app.catalog.close().await;
}

#[tokio::test]
async fn a_refusal_is_no_proof_that_a_file_is_gone() {
    let blind = AccessKey::new("blind", SECRET).without(Capability::ReadFiles);
    let server = start(Options::b2().access_key(blind)).await;
    let shop = Shop::of(&server);
    let app = shop.app().await;
    let location = put(&app, "models/a.stl").await;
    put(&app, "models/b.stl").await;
    assert!(server.remove(location.as_str()));
    let shop = shop
        .set("S3_KEY_ID", "blind")
        .set("S3_APPLICATION_KEY", SECRET);
    let wrong = wrong(shop.examine().await);
    assert_eq!(ids(&wrong), ["s3.key-lacks-read", "object.unknown"]);
    assert!(wrong[1].sentence.starts_with("Whether 2 recorded copies"));
    app.catalog.close().await;
}

#[tokio::test]
async fn the_program_prints_findings_and_fails_on_errors_only() {
    let server = start(Options::default().clock_skew(120)).await;
    let shop = Shop::of(&server);
    let (code, stdout) = run(&shop, &["doctor", "--json"]).await;
    assert_eq!(code, Some(0), "{stdout}");
    let findings: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let skew = findings.iter().find(|it| it["id"] == "s3.clock-skew");
    assert_eq!(
        skew.map(|it| &it["severity"]),
        Some(&Value::from("warning"))
    );
    assert!(findings.iter().all(|it| it["sentence"].is_string()));

    let shop = shop.set("S3_APPLICATION_KEY", SECRET);
    let (code, stdout) = run(&shop, &["doctor"]).await;
    assert_eq!(code, Some(1), "{stdout}");
    for part in ["S3_BUCKET", "stockroom-test", "error", "s3.secret-wrong: "] {
        assert!(stdout.contains(part), "{part} is missing in:\n{stdout}");
    }

    let shop = shop
        .set("S3_APPLICATION_KEY", "\"quoted\"")
        .set("S3_BUCKET", " spaced");
    let (code, _) = run(&shop, &["doctor"]).await;
    assert_eq!(code, Some(78));
}

/// Runs the program in the shop's folder, with its settings only.
async fn run(shop: &Shop, arguments: &[&str]) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(arguments)
        .env_clear()
        .envs(&shop.vars)
        .current_dir(shop.folder.path())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let stdout = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(
        !format!("{stdout}{stderr}").contains(SECRET),
        "a secret was shown"
    );
    (output.status.code(), stdout)
}
