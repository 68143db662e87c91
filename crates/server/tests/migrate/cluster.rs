//! A migration to a real cluster of which a node fails: Garage with three nodes that keep each object three times.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use stockroom_domain::{Entropy, SystemEntropy};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::place::Place;
use crate::server::Server;

/// Where scripts/test says the program is.
const PROGRAM: &str = "STOCKROOM_TEST_GARAGE_PROGRAM";
const BUCKET: &str = "stockroom-test";
const REGION: &str = "garage";

/// How long nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node, which is killed when it is dropped.
struct Node {
    config: PathBuf,
    s3_address: String,
    child: Option<Child>,
}

/// Three nodes in one folder.
struct Cluster {
    program: String,
    nodes: Vec<Node>,
    key_id: String,
    secret: String,
    rpc_secret: String,
    _folder: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn random_hex<const N: usize>() -> String {
    let system: &dyn Entropy = &SystemEntropy;
    hex::encode(system.bytes::<N>())
}

impl Cluster {
    /// None where there is no Garage; in CI that is an error.
    async fn start() -> Option<Self> {
        let Ok(program) = std::env::var(PROGRAM) else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{PROGRAM} is not set, and CI must test a cluster"
            );
            println!("SKIPPED: a cluster: {PROGRAM} is not set");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let nodes = (1..=3).map(|number| node(folder.path(), number)).collect();
        let mut cluster = Self {
            program,
            nodes,
            key_id: format!("GK{}", random_hex::<12>()),
            secret: random_hex::<32>(),
            rpc_secret: random_hex::<32>(),
            _folder: folder,
        };
        for number in 0..3 {
            cluster.start_node(number);
        }
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(cluster.until_done(number, &["node", "id", "-q"]).await);
        }
        for id in &ids[1..] {
            cluster.until_done(0, &["node", "connect", id.trim()]).await;
        }
        for id in &ids {
            let (id, _) = id.trim().split_once('@').unwrap();
            let assign = ["layout", "assign", "-z", "here", "-c", "1G", id];
            cluster.until_done(0, &assign).await;
        }
        cluster
            .until_done(0, &["layout", "apply", "--version", "1"])
            .await;
        let (key_id, secret) = (cluster.key_id.clone(), cluster.secret.clone());
        cluster.until_done(0, &["bucket", "create", BUCKET]).await;
        let import = ["key", "import", "--yes", "-n", "test", &key_id, &secret];
        cluster.until_done(0, &import).await;
        let allow = [
            "bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", &key_id,
        ];
        cluster.until_done(0, &allow).await;
        Some(cluster)
    }

    fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(&self.nodes[number].config)
            .args(arguments)
            .env("GARAGE_RPC_SECRET", &self.rpc_secret)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn start_node(&mut self, number: usize) {
        let mut command = self.command(number, &["server"]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        self.nodes[number].child = Some(child);
    }

    /// Runs a command of Garage until it works, for a while, because nodes take their time; what it prints.
    async fn until_done(&self, number: usize, arguments: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.command(number, arguments).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            assert!(
                Instant::now() < deadline,
                "garage {arguments:?} does not work"
            );
            sleep(Duration::from_millis(300)).await;
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "S3_ENDPOINT",
                format!("http://{}", self.nodes[0].s3_address),
            ),
            ("S3_REGION", REGION.to_owned()),
            ("S3_BUCKET", BUCKET.to_owned()),
            ("S3_KEY_ID", self.key_id.clone()),
            ("S3_APPLICATION_KEY", self.secret.clone()),
        ]
    }
}

fn node(folder: &Path, number: usize) -> Node {
    let own = folder.join(number.to_string());
    fs::create_dir(&own).unwrap();
    let (rpc_address, s3_address) = (free_address(), free_address());
    let (meta, data) = (own.join("meta"), own.join("data"));
    let config = own.join("garage.toml");
    let text = format!(
        "metadata_dir = {meta:?}\ndata_dir = {data:?}\ndb_engine = \"sqlite\"\n\
         replication_factor = 3\ndisable_scrub = true\n\
         rpc_bind_addr = \"{rpc_address}\"\nrpc_public_addr = \"{rpc_address}\"\n\n\
         [s3_api]\napi_bind_addr = \"{s3_address}\"\ns3_region = \"{REGION}\"\n"
    );
    fs::write(&config, text).unwrap();
    Node {
        config,
        s3_address,
        child: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_goes_on_while_a_node_of_three_is_dead() {
    const FILES: usize = 240;
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let place = Place::start().await.with_settings(cluster.settings());
    let mut files = place.put_files(FILES).await;
    let server = Server::start(&place).await;
    let (is_over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut dice = crate::dice();
    let seeds: Vec<u64> = (0..3).map(|_| dice.random()).collect();
    let read = async |seed: u64, server: &Server| {
        let mut dice = StdRng::seed_from_u64(seed);
        let keys: Vec<&String> = files.keys().collect();
        while !is_over.load(Ordering::SeqCst) {
            let key = keys[dice.random_range(0..keys.len())];
            let bytes = server.get(key).await;
            assert!(
                bytes.as_ref() == Some(&files[key]),
                "{key} is other bytes, or gone"
            );
            reads.fetch_add(1, Ordering::SeqCst);
        }
    };
    let moving = async {
        let running = place.spawn(&["migrate", "run", "--to", "s3", "--max-rate", "2MB/s"]);
        place
            .until_status(|status| status["copied"].as_u64() >= Some(FILES as u64 / 5))
            .await;
        cluster.nodes[2].kill();
        // New objects come meanwhile.
        let mut new = BTreeMap::new();
        for number in 0..10 {
            let (key, bytes) = (format!("models/new/{number}.bin"), vec![number; 3_000]);
            server.put(&key, bytes.clone()).await;
            new.insert(key, bytes);
        }
        let ran = tokio::task::block_in_place(|| running.wait());
        is_over.store(true, Ordering::SeqCst);
        (ran, new)
    };
    let readers = futures::future::join_all(seeds.iter().map(|seed| read(*seed, &server)));
    let (_, (ran, new)) = tokio::join!(readers, moving);
    // What was under way at the node when it died may have failed, and is tried again.
    assert!(matches!(ran.code, 0 | 3), "{}", ran.stdout);
    server.stop();
    files.extend(new);

    // The node comes back, and the folder is emptied while another one is dead.
    cluster.start_node(2);
    cluster.until_done(2, &["status"]).await;
    let place = place.in_mode("s3");
    let deadline = Instant::now() + PATIENCE;
    let again = loop {
        let again = place.run(&["migrate", "run", "--to", "s3", "--retry-failed"]);
        if again.code == 0 || Instant::now() > deadline {
            break again;
        }
    };
    assert_eq!(
        (again.code, again.last()["copied"].as_u64()),
        (0, Some(files.len() as u64))
    );
    cluster.nodes[1].kill();
    // A read that the dead node was asked for may fail once.
    let deadline = Instant::now() + PATIENCE;
    let retired = loop {
        let retired = place.run(&["migrate", "retire", "--from", "local", "--grace", "0s"]);
        if retired.code == 0 || Instant::now() > deadline {
            break retired;
        }
    };
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    assert_eq!(retired.last()["on_source"], 0);
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
    // A list asks more nodes than a read does, so all are to be there.
    cluster.start_node(1);
    cluster.until_done(1, &["status"]).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let verified = place.run(&["verify", "--hash-budget", "all"]);
        if verified.code == 0 {
            break;
        }
        let is_unreadable = verified.stdout.contains("\"findings\":{\"unreadable\"");
        assert!(
            is_unreadable && Instant::now() < deadline,
            "{}",
            verified.stdout
        );
        sleep(Duration::from_millis(500)).await;
    }
    println!(
        "figure: migrate: {} objects to a cluster with a dead node, {} reads, none wrong",
        files.len(),
        reads.load(Ordering::SeqCst)
    );
    assert!(reads.load(Ordering::SeqCst) > 0);
}
