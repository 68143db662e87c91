//! Shop: what a Stockroom knows and keeps, made for a run.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::database::Database;
use crate::server::S3Server;
use crate::{Bench, Outcome, measure};

/// A database and the folder of the local store.
#[derive(Debug)]
pub(crate) struct Shop {
    /// Where everything is that it has beside the bytes.
    pub(crate) folder: PathBuf,
    /// Where the bytes are.
    pub(crate) uploads: PathBuf,
    database: Database,
}

impl Shop {
    /// A shop that no Stockroom has seen yet.
    pub(crate) fn new(bench: &Bench, name: &str) -> Outcome<Self> {
        let folder = bench.scratch.join(name);
        let database = Database::in_folder(&folder);
        Self::on(database, folder)
    }

    fn on(database: Database, folder: PathBuf) -> Outcome<Self> {
        let uploads = folder.join("uploads");
        fs::create_dir_all(&uploads)?;
        Ok(Self {
            folder,
            uploads,
            database,
        })
    }

    /// A shop without objects.
    pub(crate) fn empty(bench: &Bench, name: &str) -> Outcome<Self> {
        let shop = Self::new(bench, name)?;
        shop.make_tables(bench)?;
        Ok(shop)
    }

    /// A shop whose database is what these statements make of an empty one.
    pub(crate) fn filled_by(
        bench: &Bench,
        name: &str,
        database: Database,
        statements: &str,
    ) -> Outcome<Self> {
        let shop = Self::on(database, bench.scratch.join(name))?;
        shop.make_tables(bench)?;
        shop.database.tell(&bench.peers, statements)?;
        Ok(shop)
    }

    fn make_tables(&self, bench: &Bench) -> Outcome<()> {
        // The first command of all makes them.
        expect_success(self.command(&bench.stockroom.program, None).arg("ls"))
    }

    /// A shop that took over these files as it would an old service's.
    pub(crate) fn of_files(bench: &Bench, name: &str, files: &Path) -> Outcome<Self> {
        let shop = Self::empty(bench, name)?;
        let mut import = shop.command(&bench.stockroom.program, None);
        expect_success(import.arg("import").arg(files))?;
        Ok(shop)
    }

    /// A shop of `count` objects of a few bytes each, with their files.
    pub(crate) fn of_tiny_files(bench: &Bench, name: &str, count: u64) -> Outcome<Self> {
        let shop = Self::empty(bench, name)?;
        let mut rows = String::from("BEGIN;\n");
        for number in 0..count {
            let key = key_of(number);
            let path = shop.uploads.join(&key);
            if number % 1_000 == 0 {
                fs::create_dir_all(path.parent().ok_or("a key without a folder")?)?;
            }
            let content = format!("the bytes of object {number}\n");
            fs::write(path, &content)?;
            let sha256 = hex::encode(Sha256::digest(content.as_bytes()));
            let sum = crc32c::crc32c(content.as_bytes());
            let size = content.len();
            writeln!(
                rows,
                "INSERT INTO objects VALUES ('obj_{number:026}', '{key}', '{key}', 'live', {size}, \
                 x'{sha256}', x'{sum:08x}', 'application/octet-stream', '{{}}', 1700000000000, \
                 1700000000000, NULL, NULL, NULL);"
            )?;
        }
        rows.push_str(PLACEMENTS);
        shop.database.tell(&bench.peers, &rows)?;
        Ok(shop)
    }

    /// A shop whose database knows `count` objects on the local store, where no bytes are.
    pub(crate) fn of_rows(bench: &Bench, name: &str, count: u64) -> Outcome<Self> {
        let shop = Self::empty(bench, name)?;
        // Keys come in another order than ids, as they do where artists upload.
        let rows = format!(
            "BEGIN;
             WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT {count})
             INSERT INTO objects
                 SELECT 'obj_' || printf('%026d', n),
                     printf('models/%04d/%08d.stl', (n * 7919 % {count}) / 1000, n * 7919 % {count}),
                     printf('models/%04d/%08d.stl', (n * 7919 % {count}) / 1000, n * 7919 % {count}),
                     'live', 20000 + n % 1000, randomblob(32), zeroblob(4), 'model/stl', '{{}}',
                     1700000000000 + n, 1700000000000 + n, NULL, NULL, NULL
                 FROM numbers;
             {PLACEMENTS}"
        );
        shop.database.tell(&bench.peers, &rows)?;
        Ok(shop)
    }

    /// The same shop once more, with a database of its own: for a turn that changes only that.
    pub(crate) fn again(&self, folder: &Path) -> Outcome<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            uploads: self.uploads.clone(),
            database: self.database.copy_into(folder)?,
        })
    }

    /// A stockroom of this shop. It sees no settings but these.
    pub(crate) fn command(&self, program: &Path, s3: Option<(&S3Server, &str)>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(&self.folder)
            .env("DATA_DIR", &self.folder)
            .env("STORAGE_DIR", &self.uploads);
        if let Database::Server(url) = &self.database {
            command.env("DATABASE_URL", url);
        }
        if let Some((server, bucket)) = s3 {
            command
                .env("S3_ENDPOINT", server.endpoint())
                .env("S3_REGION", S3Server::REGION)
                .env("S3_BUCKET", bucket)
                .env("S3_KEY_ID", S3Server::KEY_ID)
                .env("S3_APPLICATION_KEY", S3Server::SECRET);
        }
        command
    }

    /// A server of this shop that is going to listen at an address.
    pub(crate) fn serve(
        &self,
        program: &Path,
        s3: Option<(&S3Server, &str)>,
        address: SocketAddr,
    ) -> Command {
        let mut command = self.command(program, s3);
        command
            .arg("serve")
            .env("LISTEN", address.to_string())
            // What would be read in the background is nobody's request.
            .env("SCRUB_LOCAL_BYTES_PER_DAY", "off")
            .env("SCRUB_S3_BYTES_PER_DAY", "off");
        command
    }

    /// A key for a role, of a subject where the role has one.
    pub(crate) fn key(&self, program: &Path, role: &str, subject: Option<&str>) -> Outcome<String> {
        let mut command = self.command(program, None);
        command.args(["--json", "key", "create", "--role", role]);
        if let Some(subject) = subject {
            command.args(["--subject", subject]);
        }
        let created: Value = serde_json::from_slice(&command.output()?.stdout)?;
        let key = created["key"].as_str().ok_or("no key was made")?;
        Ok(key.to_owned())
    }
}

/// A copy of each object on the local store.
const PLACEMENTS: &str = "
    INSERT INTO placements (object_id, store, state, verified_at, updated_at, attempts, next_attempt_at)
        SELECT id, 'local', 'present', live_at, live_at, 0, live_at FROM objects;
    COMMIT;";

fn key_of(number: u64) -> String {
    format!("models/{:04}/{number:08}.bin", number / 1_000)
}

fn expect_success(command: &mut Command) -> Outcome<()> {
    let taken = measure::run(command, None)?;
    match taken.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {}", taken.status).into()),
    }
}

/// Writes `count` files of `size_bytes` below a folder, each with other bytes, none of which can be
/// made smaller.
pub(crate) fn write_files(folder: &Path, name: &str, count: u64, size_bytes: usize) -> Outcome<()> {
    for number in 0..count {
        let below = folder.join(format!("models/{name}-{:02}", number / 100));
        fs::create_dir_all(&below)?;
        let mut file = File::create(below.join(format!("{number:06}.bin")))?;
        let seed = number ^ (size_bytes as u64) << 32;
        file.write_all(&noise(seed, size_bytes))?;
    }
    Ok(())
}

/// Bytes that look random, the same for the same seed. Source of the steps: Sebastiano Vigna's
/// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
pub(crate) fn noise(seed: u64, size_bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size_bytes + 8);
    while bytes.len() < size_bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(size_bytes);
    bytes
}
