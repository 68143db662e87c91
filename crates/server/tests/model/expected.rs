//! The model: what each key of a client may show.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use stockroom_domain::{Sha256Digest, Timestamp};

/// The bytes of one upload.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    pub(crate) sha256: String,
}

impl Content {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let sha256 = Sha256Digest::of(&bytes).to_string();
        Self { bytes, sha256 }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {}", self.bytes.len(), &self.sha256[..8])
    }
}

/// What is known of one key.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// What a reader may find, or not find: one thing when the last operation was acknowledged;
    /// more when it ended in an error, which says nothing, until somebody looks.
    allowed: Vec<Option<Content>>,
    /// What the key has shown before.
    history: Vec<Content>,
    /// When the deletion was asked for that was acknowledged last.
    deleted_at: Option<Timestamp>,
    /// The last operations on the key, for whoever has to find out what went wrong.
    log: VecDeque<String>,
}

impl Expected {
    const LOG: usize = 24;

    /// A key that was never used.
    pub(crate) fn nothing() -> Self {
        Self {
            allowed: vec![None],
            ..Self::default()
        }
    }

    /// What is certainly there.
    pub(crate) fn certain(&self) -> Option<&Content> {
        match self.allowed.as_slice() {
            [Some(content)] => Some(content),
            _ => None,
        }
    }

    /// Whether certainly nothing is there.
    pub(crate) fn is_missing(&self) -> bool {
        self.allowed == [None]
    }

    /// Whether certainly nothing is there, and since when the last of it was deleted.
    pub(crate) fn deleted(&self) -> Option<(Timestamp, &Content)> {
        match self.allowed.as_slice() {
            [None] => Some((self.deleted_at?, self.history.last()?)),
            _ => None,
        }
    }

    /// An operation was acknowledged, or somebody looked: this is what is there.
    pub(crate) fn settle(&mut self, now: Option<Content>) {
        if let Some(content) = &now {
            self.history.retain(|old| old != content);
            self.history.push(content.clone());
            self.deleted_at = None;
        }
        self.allowed = vec![now];
    }

    /// A deletion was acknowledged that had been asked for at this moment.
    pub(crate) fn settle_deleted(&mut self, at: Timestamp) {
        // Of what might have been there nobody knows what was deleted.
        let known = self.certain().is_some();
        self.allowed = vec![None];
        self.deleted_at = known.then_some(at);
    }

    /// An operation ended in an error: what it wanted may have become true.
    pub(crate) fn doubt(&mut self, wanted: Option<Content>) {
        if let Some(content) = &wanted
            && !self.history.contains(content)
        {
            // It may be restored later.
            self.history.insert(0, content.clone());
        }
        if !self.allowed.contains(&wanted) {
            self.allowed.push(wanted);
        }
        self.deleted_at = None;
    }

    /// A reader found this hash, or nothing. What it is, if it may be that.
    pub(crate) fn see(&mut self, sha256: Option<&str>) -> Result<Option<Content>, String> {
        let found = self
            .allowed
            .iter()
            .find(|allowed| allowed.as_ref().map(|content| content.sha256.as_str()) == sha256)
            .cloned();
        match found {
            Some(found) => {
                if self.allowed.len() > 1 {
                    self.settle(found.clone());
                }
                Ok(found)
            }
            None => Err(format!(
                "{sha256:?} was seen, and only {:?} may be",
                self.allowed
            )),
        }
    }

    /// Something that was there once came back.
    pub(crate) fn restored(&mut self, sha256: &str) -> Result<(), String> {
        let content = self
            .history
            .iter()
            .find(|old| old.sha256 == sha256)
            .cloned();
        let Some(content) = content else {
            return Err(format!("{sha256} was restored, and never was there"));
        };
        self.settle(Some(content));
        Ok(())
    }

    pub(crate) fn note(&mut self, what: String) {
        if self.log.len() == Self::LOG {
            self.log.pop_front();
        }
        self.log.push_back(what);
    }

    /// The last operations, in their order.
    pub(crate) fn log(&self) -> String {
        self.log
            .iter()
            .map(|line| format!("\n    {line}"))
            .collect()
    }
}
