//! Invariant 4 for disks that run full: a clean refusal, nothing left behind, and business goes on
//! with what is there and as soon as there is room.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use stockroom::workers::engine;
use stockroom_domain::{Clock as _, SystemClock};

use crate::disk::{Disk, Memory};
use crate::namespace;
use crate::support::{Answer, Backend, Shop, Who, answer, noise, stl};
use crate::verdict::object_files;

const WHAT: &str = "full disks";
/// How many upload at the same time.
const CLIENTS: u64 = 4;
/// Deleted bytes go with the next round of the engine.
const NO_GRACE: (&str, &str) = ("DELETE_GRACE", "0s");
/// Longer than any lease and any wait between two attempts.
const SOME_HOURS_S: i64 = 6 * 3_600;

#[test]
fn a_disk_in_memory_that_runs_full_is_said_and_business_goes_on() {
    let test = "full_disk::a_disk_in_memory_that_runs_full_is_said_and_business_goes_on";
    run(test, async || {
        let disk = Memory::new("size=6m");
        fill_the_store(disk.path()).await;
    });
}

#[test]
fn an_ext4_disk_that_runs_full_is_said_and_business_goes_on() {
    let test = "full_disk::an_ext4_disk_that_runs_full_is_said_and_business_goes_on";
    run(test, async || {
        if let Some(problem) = Disk::problem() {
            return namespace::skip(WHAT, &problem);
        }
        // One without room for bytes, and one without room for names.
        for options in [[].as_slice(), &["-N", "96"]] {
            let disk = Disk::with_format(16 << 20, options);
            fill_the_store(disk.path()).await;
            disk.check();
        }
    });
}

#[test]
fn a_database_without_room_refuses_and_goes_on_when_there_is_some() {
    let test = "full_disk::a_database_without_room_refuses_and_goes_on_when_there_is_some";
    run(test, async || {
        let disk = Memory::new("size=8m");
        fill_the_database(disk.path()).await;
        if let Some(problem) = Disk::problem() {
            return namespace::skip(WHAT, &problem);
        }
        let disk = Disk::new(16 << 20);
        fill_the_database(disk.path()).await;
        disk.check();
    });
}

#[test]
fn a_full_folder_is_owed_its_copies_while_the_bucket_takes_uploads() {
    let test = "full_disk::a_full_folder_is_owed_its_copies_while_the_bucket_takes_uploads";
    run(test, async || {
        let disk = Memory::new("size=6m");
        acknowledge_by_the_bucket_alone(disk.path()).await;
        let disk = Memory::new("size=6m");
        refuse_without_both(disk.path()).await;
    });
}

#[test]
fn a_folder_that_was_full_at_first_use_is_ours_all_the_same() {
    let test = "full_disk::a_folder_that_was_full_at_first_use_is_ours_all_the_same";
    run(test, async || {
        // A new shop, and one that an older version of Stockroom began.
        for copies_before in [0, 3] {
            let disk = Memory::new("size=6m");
            begin_without_room(disk.path(), copies_before).await;
        }
    });
}

fn run(test: &str, body: impl AsyncFnOnce()) {
    namespace::run(WHAT, test, || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(body());
    });
}

/// A shop whose engine had the time to look around before the disk runs full.
async fn start(backend: Backend, settings: &[(&str, &str)]) -> Shop {
    let shop = Shop::start_with(backend, settings).await;
    while engine::round(&shop.app).await {}
    shop
}

async fn fill_the_store(disk: &Path) {
    let storage_dir = disk.join("uploads");
    let settings = [NO_GRACE, ("STORAGE_DIR", storage_dir.to_str().unwrap())];
    let shop = start(Backend::Local, &settings).await;
    let model = shop.draft_model().await;
    let clients = (0..CLIENTS).map(|client| fill(&shop, &model, client));
    let mut kept = futures::future::join_all(clients).await.concat();
    assert!(kept.len() > 10, "only {} files fit", kept.len());

    assert_whole(&shop, &kept).await;
    come_to_rest(&shop).await;
    assert_eq!(
        object_files(&storage_dir),
        places(&storage_dir, &kept),
        "something is left of what was refused"
    );
    assert_no_intents(&shop).await;
    println!(
        "figure: {} uploads fit, the others left nothing",
        kept.len()
    );

    // There is room again, so the shop is whole again.
    for (key, _) in kept.drain(..kept.len() / 2) {
        retire(&shop, &key).await;
    }
    settle(&shop).await;
    for number in 0..3 {
        let bytes = stl(200, 1_000 + number);
        let name = format!("after-{number}.stl");
        let asset = shop.put_asset(&model, &name, bytes.clone()).await;
        kept.push((text(&asset["key"]), bytes));
    }
    assert_whole(&shop, &kept).await;
    assert_eq!(object_files(&storage_dir), places(&storage_dir, &kept));
    stop(shop).await;
}

/// Objects by key, as they were acknowledged.
type Kept = Vec<(String, Bytes)>;

/// Uploads in every way until the disk is full several times over.
async fn fill(shop: &Shop, model: &str, client: u64) -> Kept {
    const REFUSALS: u32 = 6;
    let mut kept = Vec::new();
    let mut refusals = 0;
    for number in 0.. {
        let way = (client + number) % 3;
        let upload = upload(shop, model, way, client * 100_000 + number);
        let answer = answer(upload.request).await;
        if answer.status == 201 {
            kept.extend(keys_of(&answer).into_iter().zip(upload.files));
            continue;
        }
        answer.assert_problem(507, "storage_full", "a full disk");
        refusals += 1;
        if refusals == REFUSALS {
            break;
        }
    }
    kept
}

struct AnUpload {
    request: RequestBuilder,
    files: Vec<Bytes>,
}

fn upload(shop: &Shop, model: &str, way: u64, number: u64) -> AnUpload {
    let files = || [stl(4_000, number), stl(20, number + 50_000)];
    let path = format!("/v1/models/{model}/assets");
    match way {
        0 => {
            let [bytes, _] = files();
            let path = format!("{path}/{number}.stl");
            let request = shop.call(Who::Artist, Method::PUT, &path);
            AnUpload {
                request: request.body(bytes.clone()),
                files: vec![bytes],
            }
        }
        1 => {
            let files = files();
            let part = |(at, bytes): (usize, &Bytes)| {
                Part::stream(bytes.clone()).file_name(format!("{number}-{at}.stl"))
            };
            let form = files.iter().enumerate().map(part);
            let form = form.fold(Form::new(), |form, part| form.part("file", part));
            AnUpload {
                request: shop.call(Who::Artist, Method::POST, &path).multipart(form),
                files: files.to_vec(),
            }
        }
        _ => {
            let bytes = noise(150_000, number);
            let path = format!("/v1/objects/images/{number}/object");
            let request = shop.call(Who::Operator, Method::PUT, &path);
            AnUpload {
                request: request.body(bytes.clone()),
                files: vec![bytes],
            }
        }
    }
}

/// The keys of what was acknowledged: of one asset or object, or of a form's assets in order.
fn keys_of(answer: &Answer) -> Vec<String> {
    let body = answer.json(201);
    match body["data"].as_array() {
        Some(assets) => assets.iter().map(|asset| text(&asset["key"])).collect(),
        None => vec![text(&body["key"])],
    }
}

async fn fill_the_database(disk: &Path) {
    let storage = tempfile::tempdir().unwrap();
    let storage_dir = storage.path().join("uploads");
    let settings = [
        NO_GRACE,
        ("DATA_DIR", disk.to_str().unwrap()),
        ("STORAGE_DIR", storage_dir.to_str().unwrap()),
    ];
    let shop = start(Backend::Local, &settings).await;
    let model = shop.draft_model().await;
    let mut kept = put_objects(&shop, "before", 10).await.0;

    let ballast = Ballast::fill(disk);
    // What SQLite has of its log already is used up first.
    let (more, refused) = put_objects(&shop, "meanwhile", 500).await;
    kept.extend(more);
    assert!(refused > 10, "only {refused} uploads were refused");
    for way in 0..2 {
        let upload = upload(&shop, &model, way, 7);
        let answer = answer(upload.request).await;
        answer.assert_problem(507, "storage_full", "a full database");
    }
    let path = format!("/v1/objects/{}", kept[0].0);
    let deletion = answer(shop.call(Who::Operator, Method::DELETE, &path)).await;
    deletion.assert_problem(507, "storage_full", "a deletion with a full database");
    // The engine finds nothing but errors, and ends its round all the same.
    settle(&shop).await;
    assert_whole(&shop, &kept).await;

    ballast.remove();
    let (after, refused) = put_objects(&shop, "after", 10).await;
    assert_eq!(refused, 0, "there is room again");
    kept.extend(after);
    settle(&shop).await;
    assert_whole(&shop, &kept).await;
    assert_eq!(
        object_files(&storage_dir),
        places(&storage_dir, &kept),
        "something is left of what was refused"
    );
    assert_no_intents(&shop).await;
    stop(shop).await;
}

/// Puts small objects until so many were tried, or a few dozen were refused; what was
/// acknowledged, and how often it was refused.
async fn put_objects(shop: &Shop, name: &str, count: u64) -> (Kept, u32) {
    const ENOUGH: u32 = 24;
    let mut kept = Vec::new();
    let mut refused = 0;
    for number in 0..count {
        let key = format!("temp/{name}/{number}");
        let bytes = noise(2_000, number);
        let path = format!("/v1/objects/{key}");
        let put = shop.call(Who::Operator, Method::PUT, &path);
        let answer = answer(put.body(bytes.clone())).await;
        if answer.status == 201 {
            kept.push((key, bytes));
            continue;
        }
        answer.assert_problem(507, "storage_full", &key);
        refused += 1;
        if refused == ENOUGH {
            break;
        }
    }
    (kept, refused)
}

async fn acknowledge_by_the_bucket_alone(disk: &Path) {
    let storage_dir = disk.join("uploads");
    let settings = [
        NO_GRACE,
        ("HYBRID_ACK", "any"),
        ("STORAGE_DIR", storage_dir.to_str().unwrap()),
    ];
    let shop = start(Backend::Hybrid, &settings).await;
    let model = shop.published_model().await;
    let ballast = Ballast::fill(disk);
    let mut kept = Vec::new();
    for number in 0..5 {
        let bytes = stl(4_000, number);
        let name = format!("{number}.stl");
        let asset = shop.put_asset(&model, &name, bytes.clone()).await;
        let id = text(&asset["id"]);
        let expected = [("local", "copying"), ("s3", "present")];
        assert_eq!(states(&shop, &id).await, expected.map(owned));
        kept.push((id, text(&asset["key"]), bytes));
    }
    let objects: Kept = kept
        .iter()
        .map(|(_, key, bytes)| (key.clone(), bytes.clone()))
        .collect();
    assert_whole(&shop, &objects).await;
    // There is still no room, and trying leaves nothing.
    settle(&shop).await;
    assert_eq!(object_files(&storage_dir), [""; 0].map(PathBuf::from));
    for (id, key, bytes) in &kept {
        let expected = [("local", "copying"), ("s3", "present")];
        assert_eq!(states(&shop, id).await, expected.map(owned), "{key}");
        assert!(shop.chaos().body(key).unwrap() == bytes, "in the bucket");
    }

    ballast.remove();
    settle(&shop).await;
    for (id, key, bytes) in &kept {
        let expected = [("local", "present"), ("s3", "present")];
        assert_eq!(states(&shop, id).await, expected.map(owned), "{key}");
        let copy = std::fs::read(storage_dir.join(key)).unwrap();
        assert!(copy == *bytes, "the copy in the folder");
    }
    assert_eq!(object_files(&storage_dir), places(&storage_dir, &objects));
    assert_no_intents(&shop).await;
    stop(shop).await;
}

async fn refuse_without_both(disk: &Path) {
    let storage_dir = disk.join("uploads");
    let settings = [
        ("HYBRID_ACK", "both"),
        ("STORAGE_DIR", storage_dir.to_str().unwrap()),
    ];
    let shop = start(Backend::Hybrid, &settings).await;
    let model = shop.draft_model().await;
    let ballast = Ballast::fill(disk);
    for way in 0..3 {
        let refused = answer(upload(&shop, &model, way, way).request).await;
        refused.assert_problem(507, "storage_full", "a full folder that is needed");
    }
    settle(&shop).await;
    assert_eq!(object_files(&storage_dir), [""; 0].map(PathBuf::from));
    let left = shop.traces().await;
    assert_eq!((left.versions_in_bucket, left.unfinished_uploads), (0, 0));
    assert_no_intents(&shop).await;
    ballast.remove();
    shop.put_asset(&model, "a.stl", stl(4_000, 1)).await;
    stop(shop).await;
}

/// The engine cannot write down whose the folder is, and later it must not take it for another.
async fn begin_without_room(disk: &Path, copies_before: u64) {
    let storage_dir = disk.join("uploads");
    let settings = [NO_GRACE, ("STORAGE_DIR", storage_dir.to_str().unwrap())];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let (mut kept, _) = put_objects(&shop, "before", copies_before).await;
    let ballast = Ballast::fill(disk);
    settle(&shop).await;
    let refused = put_objects(&shop, "too-early", 1).await;
    assert_eq!(refused, (Kept::new(), 1));

    ballast.remove();
    // Before the engine comes by again, and after.
    let (more, refused) = put_objects(&shop, "at-once", 3).await;
    assert_eq!(refused, 0, "there is room");
    kept.extend(more);
    settle(&shop).await;
    let (more, refused) = put_objects(&shop, "later", 3).await;
    assert_eq!(refused, 0, "there is still room");
    kept.extend(more);
    retire(&shop, &kept.remove(0).0).await;
    settle(&shop).await;
    assert_whole(&shop, &kept).await;
    assert_eq!(object_files(&storage_dir), places(&storage_dir, &kept));
    stop(shop).await;
}

/// A file that takes all the room there is.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(disk: &Path) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        // The last blocks go one by one, so that none is left.
        for piece_bytes in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![1; piece_bytes]).is_ok() {}
        }
        // What a file system reserves for delayed writes counts only once it is written.
        file.sync_all().ok();
        while file.write_all(&[1; 4 << 10]).is_ok() {}
        Self(path)
    }

    fn remove(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

async fn assert_whole(shop: &Shop, kept: &Kept) {
    for (key, bytes) in kept {
        let read = answer(shop.get(Who::Operator, &format!("/v1/objects/{key}"))).await;
        assert!(
            read.status == 200 && read.body == bytes,
            "{key}: {}",
            read.status
        );
    }
}

/// Deletes an operator's object, or the asset that has this key.
async fn retire(shop: &Shop, key: &str) {
    let path = match key.strip_prefix("models/") {
        Some(rest) => {
            let (asset, _) = rest.split('/').nth(1).unwrap().split_once('-').unwrap();
            format!("/v1/assets/{asset}")
        }
        None => format!("/v1/objects/{key}"),
    };
    let deleted = answer(shop.call(Who::Operator, Method::DELETE, &path)).await;
    assert_eq!(deleted.status, 204, "{key}");
}

/// Waits until no request is still being cleaned up after.
async fn come_to_rest(shop: &Shop) {
    while !shop.app.tasks.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Lets the engine do what is due in the next hours. The clocks stay there, so that what failed
/// is due again the next time.
async fn settle(shop: &Shop) {
    come_to_rest(shop).await;
    for _ in 0..2 {
        let ahead = shop.app.clock.now().since(SystemClock.now());
        let ahead_s = i64::try_from(ahead.as_secs()).unwrap();
        shop.set_offset_s(ahead_s + SOME_HOURS_S);
        while engine::round(&shop.app).await {}
    }
}

/// No row of the catalog waits for anybody, and none is there without a file.
async fn assert_no_intents(shop: &Shop) {
    settle(shop).await;
    assert_eq!(shop.traces().await.intents, [""; 0], "intents are left");
}

/// Where the files of these objects lie; none of them replaced another.
fn places(storage_dir: &Path, kept: &Kept) -> Vec<PathBuf> {
    let places: BTreeSet<PathBuf> = kept.iter().map(|(key, _)| storage_dir.join(key)).collect();
    places.into_iter().collect()
}

async fn states(shop: &Shop, asset: &str) -> Vec<(String, String)> {
    let path = format!("/v1/assets/{asset}");
    let asset = answer(shop.get(Who::Operator, &path)).await.json(200);
    let placements = asset["placements"].as_array().unwrap().iter();
    placements
        .map(|placement| (text(&placement["store"]), text(&placement["state"])))
        .collect()
}

fn owned((store, state): (&str, &str)) -> (String, String) {
    (store.to_owned(), state.to_owned())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Ends the server and lets go of its files, so that the disk can be unmounted.
async fn stop(shop: Shop) {
    shop.stop_accepting.cancel();
    shop.server.await.unwrap().unwrap();
    shop.app.tasks.close();
    shop.app.tasks.wait().await;
    shop.app.catalog.close().await;
}
