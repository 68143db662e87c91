//! What every upload and every signed URL costs in this crate: `make bench`.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stockroom_domain::SeededEntropy;
use stockroom_storage::{
    CHUNK_BYTES, ContentHasher, Facts, Key, Purpose, SignRequest, SigningKey, SigningKeys,
    Timestamp, UrlSigner,
};

fn hashing(criterion: &mut Criterion) {
    let bytes: Vec<u8> = (0..8 * CHUNK_BYTES).map(|n| (n % 251) as u8).collect();
    let facts = Facts::of(&bytes);
    let mut group = criterion.benchmark_group("bytes");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("hash and chunk sums of an upload", |bencher| {
        bencher.iter(|| {
            let mut hasher = ContentHasher::new();
            bytes
                .chunks(256 << 10)
                .for_each(|piece| hasher.update(piece));
            black_box(hasher.finish())
        });
    });
    group.bench_function("check of chunk sums of a download", |bencher| {
        bencher.iter(|| {
            let mut chunks = bytes.chunks(CHUNK_BYTES).enumerate();
            assert!(chunks.all(|(index, chunk)| facts.chunk_sums.matches(index, chunk)));
        });
    });
    group.finish();
}

fn signing(criterion: &mut Criterion) {
    let key = SigningKey::generate("k1", &SeededEntropy::new(1)).expect("a key id");
    let keys = SigningKeys::new(vec![key]).expect("one key");
    let signer = UrlSigner::new(keys, "https://files.example.com");
    let object: Key = "models/42/helmet.stl".parse().expect("a key");
    let request = SignRequest::get(Duration::from_secs(900));
    let now = Timestamp::from_unix_ms(1_800_000_000_000);
    let sign = || {
        signer
            .sign(&object, &request, Purpose::Download, now)
            .expect("a URL")
            .url
    };
    let url = sign();
    let (path, query) = url
        .split_once("/files/")
        .and_then(|(_, rest)| rest.split_once('?'))
        .expect("a path and a query");
    let mut group = criterion.benchmark_group("local URL");
    group.bench_function("sign", |bencher| bencher.iter(sign));
    group.bench_function("verify", |bencher| {
        bencher.iter(|| {
            signer
                .verify("GET", path, query, now)
                .expect("a right signature")
        });
    });
    group.finish();
}

criterion_group!(benches, hashing, signing);
criterion_main!(benches);
