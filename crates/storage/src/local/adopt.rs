//! A file that another program left at the path of a key becomes an object where it lies.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::{AtFlags, fstat, linkat, unlinkat};
use rustix::io::Errno;
use stockroom_domain::Key;

use super::LocalStore;
use super::attributes::{Attributes, etag};
use super::inner::Inner;
use super::path::{FilePath, key_at};
use super::source::{SourceFolder, changed};
use super::stamp::FileStamp;
use super::sync::{sync_dir, sync_file};
use crate::sign::is_media_type;
use crate::{Error, ErrorKind, Facts, Operation, Result, WriteOptions, Written};

impl LocalStore {
    /// Whether this folder is the one that the store is in.
    ///
    /// # Errors
    /// When it cannot be opened again.
    pub fn is_at(&self, source: &SourceFolder) -> std::io::Result<bool> {
        let place = |dir| fstat(dir).map(|stat| (stat.st_dev, stat.st_ino));
        Ok(place(self.inner.folder.confined.root())? == place(source.root())?)
    }

    /// The key whose object would lie at this path below the folder, if there is one.
    #[must_use]
    pub fn key_of_path(path: &str) -> Option<Key> {
        key_at(path)
    }

    /// What the file of a key is now, for [`LocalStore::adopt`].
    ///
    /// # Errors
    /// `NotFound`; `Denied` when a link lies on the way, or something lies there that is no file.
    pub async fn stamp(&self, key: &Key) -> Result<FileStamp> {
        let call = self.inner.begin(Operation::Head);
        let (inner, stamped) = (Arc::clone(&self.inner), key.clone());
        let work = move || {
            let (_, stat) = inner.open_object(Operation::Head, &stamped)?;
            Ok(FileStamp::of(&stat))
        };
        call.end_with(self.inner.blocking(Operation::Head, Some(key), work).await)
    }

    /// Gives a file of another folder the name of a key in this one, so that it has two, and gives
    /// back what the file is now. Whoever writes to it by its other name changes what lies here.
    /// `None` when there can be no second name: the folders lie on different file systems, or on
    /// one without links. Nothing is durable before [`LocalStore::adopt`].
    ///
    /// # Errors
    /// `KeyConflict` when something lies at the place of the key already; `Corrupt` when the file
    /// is not any more what the stamp says. There is no second name then.
    pub async fn link(
        &self,
        key: &Key,
        source: &SourceFolder,
        path: &str,
        stamp: FileStamp,
    ) -> Result<Option<FileStamp>> {
        let call = self.inner.begin(Operation::Put);
        let (inner, linked) = (Arc::clone(&self.inner), key.clone());
        let (source, path) = (source.clone(), path.to_owned());
        let work = move || link(&inner, &linked, &source, &path, &stamp);
        call.end_with(self.inner.blocking(Operation::Put, Some(key), work).await)
    }

    /// Makes an object of the file that lies at the key's path, where it lies: gives it its
    /// attributes, and makes it and its name durable. `facts` are those of all of its bytes, which
    /// were read after the stamp was taken.
    ///
    /// Whoever still writes to the file by a descriptor of its own is not kept from it.
    ///
    /// # Errors
    /// `Corrupt` when the file was written to, or another one came to lie there, since the stamp
    /// was taken. Its bytes are as they were, whatever happens.
    pub async fn adopt(
        &self,
        key: &Key,
        stamp: FileStamp,
        options: WriteOptions,
        facts: &Facts,
    ) -> Result<Written> {
        let call = self.inner.begin(Operation::Put);
        let (inner, adopted, facts) = (Arc::clone(&self.inner), key.clone(), facts.clone());
        let work = move || adopt(&inner, &adopted, &stamp, &options, &facts);
        call.end_with(self.inner.blocking(Operation::Put, Some(key), work).await)
    }
}

fn adopt(
    inner: &Inner,
    key: &Key,
    stamp: &FileStamp,
    options: &WriteOptions,
    facts: &Facts,
) -> Result<Written> {
    let failed = |doing| move |errno| inner.error(Operation::Put, Some(key), doing, errno);
    let refused = |kind, detail: String| {
        Err(Error::new(&inner.name, Operation::Put, kind, detail).about(key))
    };
    if !options.content_type.as_deref().is_none_or(is_media_type) {
        let detail = "a media type is 1 to 255 visible ASCII characters and spaces";
        return refused(ErrorKind::Invalid, detail.to_owned());
    }
    let (file, stat) = inner.open_object(Operation::Put, key)?;
    if FileStamp::of(&stat) != *stamp || facts.size_bytes != stamp.size_bytes() {
        return refused(ErrorKind::Corrupt, changed().to_string());
    }
    let attributes = Attributes::adopted(options, facts);
    if Attributes::read_from(file.as_fd()) != attributes {
        attributes
            .write_to(file.as_fd())
            .map_err(failed("keep the attributes"))?;
    }
    // Another program may have written it a moment ago, and made its folders.
    sync_file(file.as_fd()).map_err(failed("sync the file"))?;
    let path = FilePath::of(key);
    let dir = inner
        .folder
        .open_or_make_dir(path.dir())
        .map_err(failed("sync the directories"))?;
    sync_dir(dir.as_fd()).map_err(failed("sync the directory"))?;
    // The attributes changed the time of the last change, so the bytes are compared.
    let (_, stat) = inner.open_object(Operation::Put, key)?;
    if !FileStamp::of(&stat).has_same_bytes(stamp) {
        return refused(ErrorKind::Corrupt, changed().to_string());
    }
    Ok(Written {
        etag: Some(etag(&stat)),
    })
}

fn link(
    inner: &Inner,
    key: &Key,
    source: &SourceFolder,
    from: &str,
    stamp: &FileStamp,
) -> Result<Option<FileStamp>> {
    let failed = |doing| move |errno| inner.error(Operation::Put, Some(key), doing, errno);
    let refused = |kind, detail: String| {
        Err(Error::new(&inner.name, Operation::Put, kind, detail).about(key))
    };
    let path = FilePath::of(key);
    let (from_dir, from_name) = source
        .parent_of(from)
        .map_err(failed("open the folder of the file"))?;
    let dir = inner
        .folder
        .open_or_make_dir(path.dir())
        .map_err(failed("make the directories"))?;
    // Without a flag a symbolic link would be linked itself, which the look at it shows.
    match linkat(&from_dir, from_name, &dir, path.name(), AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::NOTSUP) => {
            inner.folder.prune(path.dir());
            return Ok(None);
        }
        Err(Errno::EXIST) => {
            let detail = "something lies at the place of the key";
            return refused(ErrorKind::KeyConflict, detail.to_owned());
        }
        Err(errno) => {
            inner.folder.prune(path.dir());
            return Err(failed("give the file a second name")(errno));
        }
    }
    let now = inner
        .open_object(Operation::Put, key)
        .map(|(_, stat)| FileStamp::of(&stat));
    if let Ok(now) = &now
        && now.has_same_bytes(stamp)
    {
        return Ok(Some(*now));
    }
    unlinkat(&dir, path.name(), AtFlags::empty()).map_err(failed("take the name back"))?;
    inner.folder.prune(path.dir());
    refused(ErrorKind::Corrupt, changed().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::sync::scripted;
    use super::*;
    use crate::{LocalOptions, Store as _};

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn options() -> WriteOptions {
        WriteOptions {
            content_type: Some("model/stl".to_owned()),
            ..WriteOptions::default()
        }
    }

    /// A store in a folder where another program left a file.
    fn store_with(root: &Path, content: &[u8]) -> LocalStore {
        fs::create_dir_all(root.join("models/42")).unwrap();
        fs::write(root.join("models/42/a.stl"), content).unwrap();
        LocalStore::open(root, LocalOptions::default()).unwrap()
    }

    #[tokio::test]
    async fn a_file_becomes_an_object_where_it_lies() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(folder.path(), b"solid");
        let key = key("models/42/a.stl");
        let before = fs::metadata(folder.path().join(key.as_str())).unwrap();
        assert!(!store.head(&key).await.unwrap().is_stockrooms);
        for _ in 0..2 {
            let stamp = store.stamp(&key).await.unwrap();
            let facts = Facts::of(b"solid");
            store.adopt(&key, stamp, options(), &facts).await.unwrap();
            let info = store.head(&key).await.unwrap();
            assert_eq!(info.sha256, Some(facts.sha256));
            assert_eq!(info.content_type.as_deref(), Some("model/stl"));
            // It was not written by a store, and whoever cleans up has to know.
            assert!(!info.is_stockrooms);
        }
        let after = fs::metadata(folder.path().join(key.as_str())).unwrap();
        assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()));
        store.put(&key, "ours".into(), options()).await.unwrap();
        assert!(store.head(&key).await.unwrap().is_stockrooms);
    }

    #[tokio::test]
    async fn a_file_that_changed_is_not_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(folder.path(), b"solid");
        let key = key("models/42/a.stl");
        let stamp = store.stamp(&key).await.unwrap();
        fs::write(folder.path().join(key.as_str()), b"solid and more").unwrap();
        let facts = Facts::of(b"solid");
        let refused = store.adopt(&key, stamp, options(), &facts).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
        // Facts of other bytes than the file has.
        let stamp = store.stamp(&key).await.unwrap();
        let refused = store.adopt(&key, stamp, options(), &facts).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(store.head(&key).await.unwrap().sha256, None);
    }

    #[test]
    fn a_file_that_cannot_be_made_durable_is_no_object() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(folder.path(), b"solid");
        let key = key("models/42/a.stl");
        // The file, the folder models in the root, 42 in models, and the name in 42.
        for failing in 0..3 {
            let (_, stat) = store.inner.open_object(Operation::Head, &key).unwrap();
            let stamp = FileStamp::of(&stat);
            scripted::fail_after(Some(failing));
            let facts = Facts::of(b"solid");
            let adopted = adopt(&store.inner, &key, &stamp, &options(), &facts);
            assert!(adopted.is_err(), "{failing}");
            assert!(folder.path().join(key.as_str()).exists());
        }
    }

    #[tokio::test]
    async fn links_are_not_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(folder.path(), b"solid");
        let link = folder.path().join("models/42/b.stl");
        std::os::unix::fs::symlink("a.stl", link).unwrap();
        let refused = store.stamp(&key("models/42/b.stl")).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
    }

    #[tokio::test]
    async fn a_file_gets_a_second_name_where_nothing_lies() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(&folder.path().join("store"), b"solid");
        let elsewhere = folder.path().join("old");
        fs::create_dir_all(elsewhere.join("models")).unwrap();
        fs::write(elsewhere.join("models/b.stl"), b"other").unwrap();
        std::os::unix::fs::symlink("b.stl", elsewhere.join("models/c.stl")).unwrap();
        let source = SourceFolder::open(&elsewhere).unwrap();
        let stamp = source.stamp("models/b.stl").unwrap();
        let link =
            async |to: &str, from: &str, stamp| store.link(&key(to), &source, from, stamp).await;
        let linked = link("models/x/b.stl", "models/b.stl", stamp).await;
        let linked = linked.unwrap().unwrap();
        assert!(linked.has_same_bytes(&stamp) && linked.has_other_names());
        let facts = Facts::of(b"other");
        let to = key("models/x/b.stl");
        store.adopt(&to, linked, options(), &facts).await.unwrap();
        assert_eq!(store.head(&to).await.unwrap().sha256, Some(facts.sha256));

        let taken = link("models/42/a.stl", "models/b.stl", stamp).await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::KeyConflict);
        let a_link = link("models/y/c.stl", "models/c.stl", stamp).await;
        assert!(a_link.is_err());
        fs::write(elsewhere.join("models/b.stl"), b"changed since").unwrap();
        let changed = link("models/y/b.stl", "models/b.stl", stamp).await;
        assert_eq!(changed.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(!folder.path().join("store/models/y").exists());
        // The store deletes its own name only.
        store.delete(&to).await.unwrap();
        assert!(elsewhere.join("models/b.stl").exists());
    }

    #[test]
    fn a_folder_is_recognised_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("uploads");
        let store = store_with(&root, b"");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        let is_at = |path: &Path| store.is_at(&SourceFolder::open(path).unwrap()).unwrap();
        assert!(is_at(&root) && is_at(&link) && !is_at(folder.path()));
    }
}
