//! Everything that a request could leave behind, as lines that can be compared.

use std::collections::BTreeSet;
use std::path::Path;

use stockroom_domain::Sha256Digest;

use super::stage::Stage;
use crate::support::{Who, answer};

/// How lines begin that tell of a path that is none of the store's business.
const OUTSIDE: &str = "outside: ";

/// What is on disk, in the bucket and in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World(BTreeSet<String>);

impl World {
    pub(super) async fn seen(stage: &Stage) -> Self {
        let shop = &stage.shop;
        let mut lines = BTreeSet::new();
        let traces = shop.quiet_traces().await;
        lines.extend(traces.objects.iter().map(|key| format!("object {key}")));
        lines.extend(traces.intents.iter().map(|key| format!("intent {key}")));
        lines.insert(format!("{} intents", traces.intents.len()));
        lines.insert(format!("{} versions in bucket", traces.versions_in_bucket));
        lines.insert(format!("{} unfinished uploads", traces.unfinished_uploads));
        let uploads = shop.uploads_folder();
        walk(shop.folder(), &uploads, &mut lines);
        for path in [
            "/v1/models?limit=100",
            "/v1/purchases?limit=100",
            "/v1/keys?limit=100",
            &format!("/v1/models/{}/assets?versions=all", stage.model),
        ] {
            let list = answer(shop.get(Who::Operator, path)).await.json(200);
            let rows = list["data"].as_array().unwrap();
            lines.extend(rows.iter().map(|row| format!("row {}", row["id"])));
        }
        Self(lines)
    }

    /// What came and what went between two looks; none when nothing did.
    pub(super) fn difference(&self, later: &Self) -> Option<String> {
        let gone = self.0.difference(&later.0).map(|line| format!("- {line}"));
        let new = later.0.difference(&self.0).map(|line| format!("+ {line}"));
        let lines: Vec<_> = gone.chain(new).collect();
        (!lines.is_empty()).then(|| lines.join("\n      "))
    }

    /// What lies beside the store.
    pub(super) fn outside(&self) -> Self {
        let lines = self.0.iter().filter(|line| line.starts_with(OUTSIDE));
        Self(lines.cloned().collect())
    }
}

/// Notes every entry below a folder. No link is followed.
fn walk(folder: &Path, uploads: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        let what = if kind.is_symlink() {
            format!("link to {}", std::fs::read_link(&path).unwrap().display())
        } else if kind.is_dir() {
            walk(&path, uploads, lines);
            "folder".to_owned()
        } else if is_database(&path) {
            // What it holds is asked for in other ways.
            continue;
        } else {
            Sha256Digest::of(&std::fs::read(&path).unwrap()).to_string()
        };
        let place = if path.starts_with(uploads) {
            "stored: "
        } else {
            OUTSIDE
        };
        lines.insert(format!("{place}{} is {what}", path.display()));
    }
}

fn is_database(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("stockroom.db")
}
