//! Reads over several copies: they heal or are cut, and never complete wrongly.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod support;

use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use stockroom_storage::{
    ByteRange, CHUNK_BYTES, ChunkSums, DoubtKind, Error, ErrorKind, Expected, Facts, OpenRead,
    Source, open_read,
};
use support::{Dice, Doubted, Faults, Faulty, Trouble, bytes, key};

const CHUNK: u64 = CHUNK_BYTES as u64;
const KEY: &str = "models/a.stl";

/// The same object on two stores.
struct Copies {
    folders: [support::Folder; 2],
    stores: [Arc<Faulty>; 2],
    content: Bytes,
    doubted: Arc<Doubted>,
}

impl Copies {
    async fn of(content: Bytes) -> Self {
        let folders = [support::Folder::new(), support::Folder::new()];
        for folder in &folders {
            folder.put(KEY, &content).await;
        }
        let stores = [0, 1].map(|i| support::renamed(["local", "s3"][i], folders[i].store.clone()));
        Self {
            folders,
            stores,
            content,
            doubted: Arc::default(),
        }
    }

    fn sources(&self) -> Vec<Source> {
        let sources = self.stores.iter().map(|store| Source {
            store: store.clone(),
            location: key(KEY),
        });
        sources.collect()
    }

    fn expected(&self) -> Expected {
        Expected::from(&Facts::of(&self.content))
    }

    async fn open(&self, range: Option<ByteRange>) -> Result<OpenRead, Error> {
        self.open_expecting(Some(self.expected()), range).await
    }

    async fn open_expecting(
        &self,
        expected: Option<Expected>,
        range: Option<ByteRange>,
    ) -> Result<OpenRead, Error> {
        open_read(self.sources(), expected, range, self.doubted.clone()).await
    }

    /// The doubts since the last look: store, offset and kind.
    fn doubts(&self) -> Vec<(String, u64, DoubtKind)> {
        let doubts = self.doubted.take().into_iter();
        doubts
            .map(|doubt| (doubt.store.to_string(), doubt.offset, doubt.kind))
            .collect()
    }

    /// Flips the lowest bit of a byte of the file itself.
    fn flip_on_disk(&self, i: usize, offset: usize) {
        let path = self.folders[i].path_of(KEY);
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(offset as u64)).unwrap();
        file.write_all(&[self.content[offset] ^ 1]).unwrap();
    }

    fn truncate(&self, i: usize, size_bytes: u64) {
        let path = self.folders[i].path_of(KEY);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(size_bytes).unwrap();
    }

    fn restore(&self, i: usize) {
        std::fs::write(self.folders[i].path_of(KEY), &self.content).unwrap();
    }
}

/// All bytes until the end or the error, and that nothing comes after it.
async fn drain(read: OpenRead) -> (Vec<u8>, Option<Error>) {
    let mut stream = read.stream;
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => {
                assert!(
                    stream.next().await.is_none(),
                    "something came after an error"
                );
                return (all, Some(error));
            }
        }
    }
    (all, None)
}

async fn whole(read: OpenRead) -> Vec<u8> {
    let (all, error) = drain(read).await;
    assert!(error.is_none(), "{error:?}");
    all
}

fn reads(offset: u64, trouble: Trouble) -> Faults {
    Faults {
        read: Some((offset, trouble)),
        ..Faults::default()
    }
}

fn opens(kind: ErrorKind) -> Faults {
    Faults {
        get: Some(kind),
        ..Faults::default()
    }
}

#[tokio::test]
async fn every_range_delivers_its_bytes() {
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
        let copies = Copies::of(bytes(size, size as usize)).await;
        let edges = [
            0,
            1,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            2 * CHUNK,
            size.saturating_sub(1),
            size,
        ];
        let mut ranges = vec![None];
        for first in edges {
            ranges.extend([Some(ByteRange::From(first)), Some(ByteRange::Suffix(first))]);
            let lasts = edges.into_iter().filter(|last| *last >= first);
            ranges.extend(lasts.map(|last| Some(ByteRange::Inclusive { first, last })));
        }
        let without_sums = Expected {
            size_bytes: size,
            chunk_sums: None,
        };
        for range in ranges {
            for expected in [Some(copies.expected()), Some(without_sums.clone()), None] {
                let read = copies.open_expecting(expected, range).await;
                let wanted = match range.map(|range| range.resolve(size)) {
                    None => 0..size,
                    Some(Ok(wanted)) => wanted,
                    Some(Err(_)) => {
                        let kind = read.unwrap_err().kind();
                        assert_eq!(kind, ErrorKind::RangeNotSatisfiable { size_bytes: size });
                        continue;
                    }
                };
                let read = read.unwrap();
                assert_eq!((read.size_bytes, &read.range), (size, &wanted));
                assert_eq!(read.served_by.as_str(), "local");
                let (start, end) = (wanted.start as usize, wanted.end as usize);
                assert!(
                    whole(read).await == copies.content[start..end],
                    "{size} {range:?}"
                );
            }
        }
        assert_eq!(copies.doubts(), []);
    }
}

#[tokio::test]
async fn a_download_goes_on_from_the_other_copy_at_every_chunk() {
    let size = 3 * CHUNK + 100;
    let copies = Copies::of(bytes(21, size as usize)).await;
    let unavailable = Trouble::Error(ErrorKind::Unavailable);
    let offsets = (0..=3)
        .flat_map(|chunk| [chunk * CHUNK, chunk * CHUNK + 50, (chunk + 1) * CHUNK - 1])
        .filter(|offset| *offset < size);
    for offset in offsets {
        let chunk_start = offset - offset % CHUNK;
        let troubles = [
            (unavailable, offset, DoubtKind::Unavailable),
            (Trouble::End, offset, DoubtKind::Corrupt),
            (Trouble::Flip, chunk_start, DoubtKind::Corrupt),
        ];
        for (trouble, noticed_at, kind) in troubles {
            copies.stores[0].set(reads(offset, trouble));
            let read = copies.open(None).await.unwrap();
            assert!(
                whole(read).await == copies.content,
                "{trouble:?} at {offset}"
            );
            assert_eq!(copies.doubts(), [("local".to_owned(), noticed_at, kind)]);
        }
    }
}

#[tokio::test]
async fn both_copies_may_fail_at_different_places_but_not_twice() {
    let copies = Copies::of(bytes(22, 4 * CHUNK_BYTES)).await;
    copies.stores[0].set(reads(CHUNK + 9, Trouble::Flip));
    copies.stores[1].set(reads(3 * CHUNK, Trouble::Error(ErrorKind::Unavailable)));
    let (got, error) = drain(copies.open(None).await.unwrap()).await;
    assert!(got == copies.content[..3 * CHUNK_BYTES]);
    assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
    let corrupt = ("local".to_owned(), CHUNK, DoubtKind::Corrupt);
    let unavailable = ("s3".to_owned(), 3 * CHUNK, DoubtKind::Unavailable);
    assert_eq!(copies.doubts(), [corrupt, unavailable]);
}

/// Invariant 9: corrupt bytes never pass as complete.
#[tokio::test]
async fn a_flipped_bit_is_healed_or_the_response_is_cut() {
    let seed = 20_261_124;
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let size = 2 * CHUNK_BYTES + 54_321;
    let copies = Copies::of(bytes(seed, size)).await;
    for case in 0..200 {
        let start = dice.below(size);
        let end = start + 1 + dice.below(size - start);
        let range = ByteRange::Inclusive {
            first: start as u64,
            last: end as u64 - 1,
        };
        let chunks = start - start % CHUNK_BYTES..size.min(end.next_multiple_of(CHUNK_BYTES));
        let bad = chunks.start + dice.below(chunks.len());
        let bad_chunk = bad - bad % CHUNK_BYTES;
        copies.flip_on_disk(0, bad);
        let both = case % 4 == 3;
        if both {
            copies.flip_on_disk(
                1,
                bad_chunk + dice.below(size.min(bad_chunk + CHUNK_BYTES) - bad_chunk),
            );
        }
        let (got, error) = drain(copies.open(Some(range)).await.unwrap()).await;
        let doubts = copies.doubts();
        let corrupt = |store: &str| (store.to_owned(), bad_chunk as u64, DoubtKind::Corrupt);
        if both {
            let good = bad_chunk.max(start);
            assert!(got == copies.content[start..good], "case {case}");
            assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt, "case {case}");
            assert_eq!(doubts, [corrupt("local"), corrupt("s3")], "case {case}");
        } else {
            assert!(
                error.is_none() && got == copies.content[start..end],
                "case {case}"
            );
            assert_eq!(doubts, [corrupt("local")], "case {case}");
        }
        copies.restore(0);
        copies.restore(1);
    }
}

#[tokio::test]
async fn a_truncated_or_longer_file_is_passed_over() {
    let copies = Copies::of(bytes(23, 2 * CHUNK_BYTES)).await;
    for size_bytes in [0, 1, CHUNK, 2 * CHUNK - 1, 2 * CHUNK + 1] {
        copies.truncate(0, size_bytes);
        for range in [None, Some(ByteRange::Suffix(10))] {
            let read = copies.open(range).await.unwrap();
            assert_eq!(read.served_by.as_str(), "s3");
            let start = read.range.start as usize;
            assert!(whole(read).await == copies.content[start..]);
            let doubts = copies.doubts();
            assert_eq!(doubts.len(), 1);
            assert_eq!(
                (doubts[0].0.as_str(), doubts[0].2),
                ("local", DoubtKind::Corrupt)
            );
        }
    }
    // The caller's range exists, whatever a copy that is too short makes of it.
    copies.truncate(0, 1);
    copies.stores[1].set(opens(ErrorKind::NotFound));
    for range in [None, Some(ByteRange::From(CHUNK))] {
        let error = copies.open(range).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn a_store_that_ignores_ranges_is_passed_over() {
    let copies = Copies::of(bytes(33, 3 * CHUNK_BYTES)).await;
    copies.stores[0].set(Faults {
        ignore_range: true,
        ..Faults::default()
    });
    let read = copies.open(Some(ByteRange::From(CHUNK))).await.unwrap();
    assert_eq!(read.served_by.as_str(), "s3");
    assert!(whole(read).await == copies.content[CHUNK_BYTES..]);
    assert_eq!(copies.doubts().len(), 1);
}

#[tokio::test]
async fn the_opening_fails_over_and_unknown_is_not_missing() {
    use ErrorKind::{Denied, NotFound, Unavailable};
    let copies = Copies::of(bytes(24, 1_000)).await;
    let kinds = [
        (NotFound, DoubtKind::Missing, true),
        (Unavailable, DoubtKind::Unavailable, false),
        (Denied, DoubtKind::Denied, false),
    ];
    for (kind, doubt, about_placement) in kinds {
        copies.stores[0].set(opens(kind));
        let read = copies.open(None).await.unwrap();
        assert_eq!(read.served_by.as_str(), "s3");
        assert!(whole(read).await == copies.content);
        assert_eq!(copies.doubts(), [("local".to_owned(), 0, doubt)]);
        assert_eq!(doubt.is_about_placement(), about_placement);
    }
    let verdicts = [
        (NotFound, NotFound, NotFound),
        (NotFound, Unavailable, Unavailable),
        (Unavailable, NotFound, Unavailable),
        (Denied, NotFound, Denied),
        (Denied, Unavailable, Unavailable),
    ];
    for (first, second, verdict) in verdicts {
        copies.stores[0].set(opens(first));
        copies.stores[1].set(opens(second));
        for expected in [Some(copies.expected()), None] {
            let error = copies.open_expecting(expected, None).await.unwrap_err();
            assert_eq!(error.kind(), verdict);
        }
    }
    let none = open_read(Vec::new(), None, None, copies.doubted.clone()).await;
    assert_eq!(none.unwrap_err().kind(), Unavailable);
}

#[tokio::test]
async fn a_record_that_contradicts_itself_is_an_error_and_no_doubt() {
    let copies = Copies::of(bytes(25, CHUNK_BYTES + 1)).await;
    let one_sum = Facts::of(b"x").chunk_sums;
    for chunk_sums in [one_sum, ChunkSums::default()] {
        let expected = Expected {
            chunk_sums: Some(chunk_sums),
            ..copies.expected()
        };
        let error = copies
            .open_expecting(Some(expected), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(copies.doubts(), []);
}

#[tokio::test]
async fn without_sums_only_the_length_is_checked() {
    let copies = Copies::of(bytes(26, CHUNK_BYTES + 1)).await;
    let expected = Some(Expected {
        chunk_sums: None,
        ..copies.expected()
    });
    copies.stores[0].set(reads(CHUNK - 3, Trouble::End));
    let read = copies.open_expecting(expected.clone(), None).await.unwrap();
    assert!(whole(read).await == copies.content);
    let corrupt = ("local".to_owned(), CHUNK - 3, DoubtKind::Corrupt);
    assert_eq!(copies.doubts(), [corrupt]);

    copies.stores[0].set(reads(5, Trouble::Flip));
    let read = copies.open_expecting(expected, None).await.unwrap();
    assert!(whole(read).await != copies.content);
    assert_eq!(copies.doubts(), []);
}

#[tokio::test]
async fn an_error_after_the_last_byte_counts_unless_the_bytes_are_proven() {
    let copies = Copies::of(bytes(34, CHUNK_BYTES + 9)).await;
    let end = CHUNK + 9;
    copies.stores[0].set(reads(end, Trouble::Error(ErrorKind::Unavailable)));
    assert!(whole(copies.open(None).await.unwrap()).await == copies.content);
    assert_eq!(copies.doubts(), []);
    let read = copies.open_expecting(None, None).await.unwrap();
    assert!(whole(read).await == copies.content);
    let unavailable = ("local".to_owned(), end, DoubtKind::Unavailable);
    assert_eq!(copies.doubts(), [unavailable]);
}

#[tokio::test]
async fn without_a_record_only_a_copy_known_to_be_the_same_is_taken() {
    let copies = Copies::of(bytes(27, 3 * CHUNK_BYTES)).await;
    let broken = reads(CHUNK + 5, Trouble::Error(ErrorKind::Unavailable));
    copies.stores[0].set(broken.clone());
    let suffix = ByteRange::Suffix(2 * CHUNK + 1);
    for (range, start) in [(None, 0), (Some(suffix), CHUNK_BYTES - 1)] {
        let read = copies.open_expecting(None, range).await.unwrap();
        assert!(whole(read).await == copies.content[start..]);
    }
    copies.doubts();

    // The object was replaced on one store: same size, other bytes.
    let other = bytes(28, 3 * CHUNK_BYTES);
    copies.folders[1].put(KEY, &other).await;
    let (got, error) = drain(copies.open_expecting(None, None).await.unwrap()).await;
    assert!(got == copies.content[..CHUNK_BYTES + 5]);
    assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
    // Nothing is known against the other copy.
    let unavailable = ("local".to_owned(), CHUNK + 5, DoubtKind::Unavailable);
    assert_eq!(copies.doubts(), [unavailable]);
}

#[tokio::test]
async fn nothing_is_passed_on_before_its_chunk_was_checked() {
    let copies = Copies::of(bytes(29, 3 * CHUNK_BYTES)).await;
    let last_of_chunk = reads(2 * CHUNK - 1, Trouble::Flip);
    copies
        .stores
        .iter()
        .for_each(|store| store.set(last_of_chunk.clone()));
    let range = ByteRange::From(CHUNK + 1);
    let (got, error) = drain(copies.open(Some(range)).await.unwrap()).await;
    assert_eq!(got.len(), 0);
    assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn no_more_than_a_chunk_is_read_ahead() {
    let copies = Copies::of(bytes(30, 8 * CHUNK_BYTES)).await;
    let mut read = copies.open(None).await.unwrap();
    let mut passed_on = 0;
    while let Some(piece) = read.stream.next().await {
        passed_on += piece.unwrap().len() as u64;
        let ahead = copies.stores[0].delivered_bytes() - passed_on;
        assert!(ahead <= 2 * CHUNK, "{ahead} bytes ahead at {passed_on}");
    }
    assert_eq!(passed_on, 8 * CHUNK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reads_at_once_heal_at_once() {
    let copies = Arc::new(Copies::of(bytes(31, 3 * CHUNK_BYTES)).await);
    copies.flip_on_disk(0, CHUNK_BYTES + 17);
    let reads = (0..16).map(|_| {
        let copies = Arc::clone(&copies);
        tokio::spawn(async move {
            let read = copies.open(None).await.unwrap();
            assert!(whole(read).await == copies.content);
        })
    });
    for joined in join_all(reads).await {
        joined.unwrap();
    }
    assert_eq!(copies.doubts().len(), 16);
}

#[tokio::test]
async fn a_read_may_be_dropped_at_any_time() {
    let copies = Copies::of(bytes(32, 3 * CHUNK_BYTES)).await;
    for items in 0..4 {
        let mut read = copies.open(None).await.unwrap();
        for _ in 0..items {
            read.stream.next().await.unwrap().unwrap();
        }
        drop(read);
    }
    assert_eq!(copies.doubts(), []);
    assert!(whole(copies.open(None).await.unwrap()).await == copies.content);
}
