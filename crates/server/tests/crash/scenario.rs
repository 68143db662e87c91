//! The operations that are interrupted, as a client does them, and what may be there afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use reqwest::multipart::{Form, Part};
use stockroom_domain::Sha256Digest;
use tokio::time::Instant;

use crate::control::Calls;
use crate::server::Server;
use crate::site::{Mode, Site};
use crate::template::{Before, Contents, LARGE, SHELF, Template};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A file is uploaded as a raw body.
    Upload,
    /// Two files are uploaded in one form.
    Form,
    /// An object is put that goes to a bucket in parts.
    Parts,
    /// An object is put where there is one.
    Replace,
    /// An object is deleted for readers.
    Delete,
    /// The server starts and removes the bytes of an object whose grace period is over.
    Removal,
    /// A damaged file is read and replaced from the bucket.
    RepairFolder,
    /// An object that is missing in the bucket is read and replaced from the folder.
    RepairBucket,
}

/// What the client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: the connection broke off, or there was no client.
    Nothing,
    /// It is done.
    Done,
    /// It is not done.
    Refused { status: u16, code: String },
}

/// The contents that are readable after an operation.
pub(crate) type Readable = BTreeSet<Sha256Digest>;

impl Scenario {
    /// Those that store bytes.
    pub(crate) const STORING: [Self; 4] = [Self::Upload, Self::Form, Self::Parts, Self::Replace];
    /// Those that are about bytes that are there.
    pub(crate) const KEEPING: [Self; 4] = [
        Self::Delete,
        Self::RepairFolder,
        Self::RepairBucket,
        Self::Removal,
    ];

    /// Whether it is anything of its own in this mode: parts are for a bucket, a repair needs a
    /// second copy.
    pub(crate) fn exists_in(self, mode: Mode) -> bool {
        match self {
            Self::Parts => mode.has_bucket(),
            Self::RepairFolder | Self::RepairBucket => mode == Mode::Hybrid,
            _ => true,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Form => "form",
            Self::Parts => "parts",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Removal => "removal",
            Self::RepairFolder => "repair-folder",
            Self::RepairBucket => "repair-bucket",
        }
    }

    /// What it needs to find.
    pub(crate) fn before(self) -> Before {
        Before {
            settings: match self {
                Self::RepairBucket => &[("DELETE_GRACE", "5m"), ("HYBRID_READ", "s3-first")],
                _ => &[("DELETE_GRACE", "5m")],
            },
            is_deleted: self == Self::Removal,
        }
    }

    /// Whether calls count from the start of the server.
    pub(crate) fn counts_from_the_start(self) -> bool {
        self == Self::Removal
    }

    /// Damages what is to be repaired, before the server starts.
    pub(crate) fn damage(self, site: &Site) {
        match self {
            Self::RepairFolder => {
                let path = site.uploads().join(SHELF);
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[1_100_000] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
            Self::RepairBucket => {
                let chaos = site.chaos.as_ref().unwrap();
                assert!(chaos.remove(SHELF));
            }
            _ => {}
        }
    }

    /// Does it, and waits until the server rests or is dead.
    pub(crate) async fn perform(
        self,
        server: &mut Server,
        site: &Site,
        template: &Template,
    ) -> Told {
        let bytes = &template.bytes;
        let told = match self {
            Self::Upload => {
                let path = format!("/v1/models/{}/assets/helmet.stl", template.model);
                send(server, template, Method::PUT, &path, Some(&bytes.file)).await
            }
            Self::Form => {
                let path = format!("/v1/models/{}/assets", template.model);
                let request = server.call(&template.key, Method::POST, &path);
                told_of(request.map(|it| it.multipart(form(bytes)))).await
            }
            Self::Parts => {
                let path = format!("/v1/objects/{LARGE}");
                send(server, template, Method::PUT, &path, Some(&bytes.large)).await
            }
            Self::Replace => {
                let path = format!("/v1/objects/{SHELF}");
                send(server, template, Method::PUT, &path, Some(&bytes.new)).await
            }
            Self::Delete => {
                let path = format!("/v1/objects/{SHELF}");
                send(server, template, Method::DELETE, &path, None).await
            }
            Self::Removal => {
                self.wait_for_engine(server, site, bytes).await;
                Told::Nothing
            }
            Self::RepairFolder | Self::RepairBucket => {
                let told = read(server, template).await;
                self.wait_for_engine(server, site, bytes).await;
                told
            }
        };
        if server.page.struck().is_none() && !server.is_dead() {
            server.page.quiet().await;
        }
        told
    }

    /// Whether the engine has done what it has to do: both copies of the shelf's object are whole,
    /// or none is left.
    pub(crate) fn is_done(self, site: &Site, bytes: &Contents) -> bool {
        let file = std::fs::read(site.uploads().join(SHELF)).ok();
        let chaos = site.chaos.as_ref();
        match self {
            Self::RepairFolder | Self::RepairBucket => {
                let object = chaos.and_then(|chaos| chaos.body(SHELF));
                file.as_ref() == Some(&bytes.shelf.to_vec())
                    && object.as_ref() == Some(&bytes.shelf)
            }
            Self::Removal => {
                file.is_none() && chaos.is_none_or(|chaos| chaos.versions(SHELF).is_empty())
            }
            _ => true,
        }
    }

    async fn wait_for_engine(self, server: &mut Server, site: &Site, bytes: &Contents) {
        const PATIENCE: Duration = Duration::from_millis(250);
        let (mut seen, mut since) = (0, Instant::now());
        // Without a step for a while, it was put off.
        while !self.is_done(site, bytes) && !server.is_dead() && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = server.page.count(Calls::All);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// What may be readable afterwards. What was acknowledged must be; what was not is wholly
    /// there or wholly absent.
    pub(crate) fn allowed(self, told: &Told, bytes: &Contents) -> Vec<Readable> {
        let set = |contents: &[&Bytes]| -> Readable {
            let base = [&bytes.base];
            let all = base.iter().chain(contents);
            all.map(|bytes| Sha256Digest::of(bytes)).collect()
        };
        let before = set(&[&bytes.shelf]);
        let after = match self {
            Self::Upload => set(&[&bytes.shelf, &bytes.file]),
            Self::Form => set(&[&bytes.shelf, &bytes.file, &bytes.other_file]),
            Self::Parts => set(&[&bytes.shelf, &bytes.large]),
            Self::Replace => set(&[&bytes.new]),
            Self::Delete => set(&[]),
            Self::Removal => return vec![set(&[])],
            Self::RepairFolder | Self::RepairBucket => return vec![before],
        };
        match told {
            Told::Done => vec![after],
            Told::Nothing | Told::Refused { .. } => vec![before, after],
        }
    }
}

async fn send(
    server: &Server,
    template: &Template,
    method: Method,
    path: &str,
    body: Option<&Bytes>,
) -> Told {
    let request = server.call(&template.key, method, path);
    told_of(request.map(|request| match body {
        Some(body) => request.body(body.clone()),
        None => request,
    }))
    .await
}

/// Reads the shelf's object; whatever happens, no other bytes come.
async fn read(server: &Server, template: &Template) -> Told {
    let path = format!("/v1/objects/{SHELF}");
    let Some(request) = server.call(&template.key, Method::GET, &path) else {
        return Told::Nothing;
    };
    match request.send().await {
        Err(_) => Told::Nothing,
        Ok(response) if response.status().is_success() => match response.bytes().await {
            Ok(body) => {
                assert!(body == template.bytes.shelf, "other bytes were read");
                Told::Done
            }
            Err(_) => Told::Nothing,
        },
        Ok(response) => refusal(response).await,
    }
}

/// Sends a request and tells what its answer is.
pub(crate) async fn told_of(request: Option<reqwest::RequestBuilder>) -> Told {
    let Some(request) = request else {
        return Told::Nothing;
    };
    match request.send().await {
        Err(_) => Told::Nothing,
        Ok(response) if response.status().is_success() => Told::Done,
        Ok(response) => refusal(response).await,
    }
}

async fn refusal(response: reqwest::Response) -> Told {
    let status = response.status().as_u16();
    let problem: serde_json::Value = response.json().await.unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("no problem").to_owned();
    Told::Refused { status, code }
}

fn form(bytes: &Contents) -> Form {
    let part = |bytes: &Bytes, name: &'static str| Part::stream(bytes.clone()).file_name(name);
    Form::new()
        .part("file", part(&bytes.file, "helmet.stl"))
        .part("file", part(&bytes.other_file, "stand.stl"))
}
