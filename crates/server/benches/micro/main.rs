//! What the small steps of every request cost by themselves: `make bench-micro`, together with hashing and
//! signing in the crate `stockroom-storage`.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderMap;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use stockroom::http::range::{etag, wanted};
use stockroom_domain::{
    Action, AssetFacts, Caller, Entitlement, Entropy as _, Key, ModelStatus, PurchaseId,
    SeededEntropy, Sha256Digest, Timestamp, permits,
};
use stockroom_formats::Checker;
use stockroom_storage::{Ack, LocalOptions, LocalStore, Store, Upload, WriteOptions};

/// In what pieces bodies come from a connection, in bytes.
const PIECE_BYTES: usize = 64 << 10;

fn gate(criterion: &mut Criterion) {
    let now = Timestamp::from_unix_ms(1_800_000_000_000);
    let subject = |text: &str| text.parse().expect("a subject");
    let facts = AssetFacts {
        artist: subject("artist"),
        model_status: ModelStatus::Published,
        deleted: false,
        entitlement: Some(Entitlement {
            purchase: PurchaseId::generate(now, &SeededEntropy::new(1)),
            buyer: subject("buyer"),
            refunded_at: None,
            expires_at: None,
            download_limit: None,
            downloads: 3,
            last_download: None,
        }),
    };
    let mut group = criterion.benchmark_group("gate");
    for (who, caller) in [
        ("its buyer", Caller::Buyer(subject("buyer"))),
        ("another buyer", Caller::Buyer(subject("somebody"))),
        ("nobody", Caller::Anonymous),
    ] {
        group.bench_function(format!("a download for {who}"), |bencher| {
            bencher.iter(|| permits(black_box(&caller), &facts, Action::Download, now));
        });
    }
    group.finish();
}

fn ranges(criterion: &mut Criterion) {
    let etag = etag(&Sha256Digest::of(b"abc"));
    let headers = |pairs: &[(http::HeaderName, &str)]| -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, value.parse().expect("a header")))
            .collect()
    };
    let many = format!("bytes=0-0{}", ",2-2".repeat(2_000));
    let mut group = criterion.benchmark_group("conditions and range");
    for (what, headers) in [
        ("none", HeaderMap::new()),
        ("a range", headers(&[(RANGE, "bytes=1000-1999")])),
        (
            "a range with its condition",
            headers(&[(RANGE, "bytes=-500"), (IF_RANGE, &etag)]),
        ),
        ("2,001 ranges", headers(&[(RANGE, &many)])),
        ("a copy that is current", headers(&[(IF_NONE_MATCH, &etag)])),
    ] {
        group.bench_function(what, |bencher| {
            bencher.iter(|| wanted(black_box(&headers), &etag));
        });
    }
    group.finish();
}

fn formats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check of a file");
    for (filename, bytes) in [
        ("a.stl", binary_stl(160_000)),
        ("b.stl", text_stl(30_000)),
        ("c.obj", obj(100_000)),
    ] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let what = format!("{filename}, {} MiB", bytes.len() >> 20);
        group.bench_function(what, |bencher| {
            bencher.iter(|| {
                let mut checker = Checker::new(filename);
                for piece in bytes.chunks(PIECE_BYTES) {
                    checker.update(piece).expect("it is well");
                }
                checker.finish().expect("it is well")
            });
        });
    }
    group.finish();
}

fn binary_stl(facets: u32) -> Vec<u8> {
    let mut bytes = vec![0; 80];
    bytes.extend_from_slice(&facets.to_le_bytes());
    for facet in 0..facets {
        for number in 0..12_u16 {
            let value = f32::from(number) + (facet % 97) as f32;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&[0, 0]);
    }
    bytes
}

fn text_stl(facets: u32) -> Vec<u8> {
    let mut text = String::from("solid bench\n");
    for facet in 0..facets {
        let x = facet % 97;
        let _ = writeln!(
            text,
            "facet normal 0 0 1\nouter loop\nvertex {x} 0 0\nvertex {x} 1.5 0\nvertex 0 1e1 2\n\
             endloop\nendfacet"
        );
    }
    text.push_str("endsolid bench\n");
    text.into_bytes()
}

fn obj(points: u32) -> Vec<u8> {
    let mut text = String::new();
    for point in 0..points {
        let _ = writeln!(text, "v {point}.25 -{point}.5 0.125");
    }
    for point in 3..=points {
        let _ = writeln!(text, "f {} {} {point}", point - 2, point - 1);
    }
    text.into_bytes()
}

/// An upload to one folder, and to two at the same time. The disk is part of it.
fn writing(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let store = |name: &'static str| -> Arc<dyn Store> {
        let options = LocalOptions::default().name(name.parse().expect("a name"));
        Arc::new(LocalStore::open(&folder.path().join(name), options).expect("a store"))
    };
    let (one, two) = (vec![store("a")], vec![store("b"), store("c")]);
    let mut body = vec![0; 4 << 20];
    SeededEntropy::new(2).fill(&mut body);
    let body = Bytes::from(body);
    let key: Key = "models/bench.bin".parse().expect("a key");
    let mut group = criterion.benchmark_group("upload of 4 MiB");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.sample_size(20);
    for (what, stores) in [("to a folder", &one), ("to two folders", &two)] {
        group.bench_function(what, |bencher| {
            let write = async |mut body: Bytes| {
                let options = WriteOptions::default();
                let mut upload = Upload::open(stores, &key, options, Ack::Both)
                    .await
                    .expect("an upload");
                while !body.is_empty() {
                    let piece = body.split_to(PIECE_BYTES.min(body.len()));
                    upload.write(piece).await.expect("a write");
                }
                upload.finish().await.expect("an object")
            };
            bencher.iter_batched(
                || body.clone(),
                |body| runtime.block_on(write(body)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, gate, ranges, formats, writing);
criterion_main!(benches);
