//! Every call on a folder is told once, with its bytes and its outcome.
#![expect(
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_storage::{
    ByteRange, Call, Facts, Key, KeyPrefix, LocalOptions, LocalStore, Observer, Operation, Outcome,
    SignRequest, Store, WriteOptions,
};

/// Operation, outcome, bytes sent, bytes received.
type Told = (Operation, Outcome, u64, u64);

#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Told>>);

impl Observer for Notebook {
    fn call(&self, call: &Call<'_>) {
        assert_eq!(call.store.as_str(), "local");
        self.0.lock().unwrap().push((
            call.operation,
            call.outcome,
            call.sent_bytes,
            call.received_bytes,
        ));
    }
}

impl Notebook {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn calls_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let notebook = Arc::new(Notebook::default());
    let options = LocalOptions::default().observer(Arc::clone(&notebook) as Arc<dyn Observer>);
    let store = LocalStore::open(folder.path(), options).unwrap();
    assert_eq!(notebook.take(), []);

    let key: Key = "models/a".parse().unwrap();
    let below: Key = "models/a/b".parse().unwrap();
    let bytes = Bytes::from(vec![1; 1_000_000]);
    let plain = WriteOptions::default();

    store.put(&key, bytes.clone(), plain.clone()).await.unwrap();
    assert_eq!(
        notebook.take(),
        [(Operation::Put, Outcome::Ok, 1_000_000, 0)]
    );

    store
        .put(&below, bytes.clone(), plain.clone())
        .await
        .unwrap_err();
    assert_eq!(
        notebook.take(),
        [(Operation::Put, Outcome::Failed, 1_000_000, 0)]
    );

    for is_dropped in [true, false] {
        let mut writer = store.writer(&key, plain.clone()).await.unwrap();
        writer.write(bytes.slice(..10)).await.unwrap();
        if is_dropped {
            drop(writer);
        } else {
            writer.abort().await;
        }
        assert_eq!(notebook.take(), [(Operation::Put, Outcome::Dropped, 10, 0)]);
    }

    let mut writer = store.writer(&key, plain).await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    writer.finish(&Facts::of(&bytes)).await.unwrap();
    assert_eq!(
        notebook.take(),
        [(Operation::Put, Outcome::Ok, 1_000_000, 0)]
    );

    // A client that counted the bytes does not ask for the end of the stream.
    let mut read = store.get(&key, Some(ByteRange::Suffix(9))).await.unwrap();
    assert_eq!(notebook.take(), []);
    assert_eq!(read.stream.next().await.unwrap().unwrap().len(), 9);
    assert_eq!(notebook.take(), [(Operation::Get, Outcome::Ok, 0, 9)]);
    drop(read);
    assert_eq!(notebook.take(), []);

    let mut read = store.get(&key, None).await.unwrap();
    let first = read.stream.next().await.unwrap().unwrap();
    drop(read);
    let received = first.len() as u64;
    assert_eq!(
        notebook.take(),
        [(Operation::Get, Outcome::Dropped, 0, received)]
    );

    store.head(&key).await.unwrap();
    store.head(&below).await.unwrap_err();
    let head = (Operation::Head, Outcome::Ok, 0, 0);
    assert_eq!(notebook.take(), [head, head], "an answer is no failure");

    store.get(&below, None).await.unwrap_err();
    store
        .get(&key, Some(ByteRange::From(u64::MAX)))
        .await
        .unwrap_err();
    let get = (Operation::Get, Outcome::Ok, 0, 0);
    assert_eq!(notebook.take(), [get, get]);

    let entries: Vec<_> = store.list(&KeyPrefix::all()).try_collect().await.unwrap();
    assert_eq!(entries.len(), 1);
    let list = (Operation::List, Outcome::Ok, 0, 0);
    assert!(notebook.take().iter().all(|told| *told == list));

    let request = SignRequest::get(Duration::from_secs(1));
    store.signed_url(&key, &request).await.unwrap_err();
    assert_eq!(notebook.take(), [(Operation::Sign, Outcome::Failed, 0, 0)]);

    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    let delete = (Operation::Delete, Outcome::Ok, 0, 0);
    assert_eq!(notebook.take(), [delete, delete]);
}
