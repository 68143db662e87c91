//! Sends an event, once. The address that is connected to is the one that was looked at, so that a
//! name which stands for something else a moment later gains nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode};
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::{TargetUrl, Targets};
use crate::causes::cause;
use crate::client::{self, told};
use crate::config::WebhookSettings;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take. Source: "a timeout of 15 to 30 seconds",
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
const ANSWER: Duration = Duration::from_secs(15);
/// Receivers see who calls.
const AGENT: &str = concat!("Stockroom/", env!("CARGO_PKG_VERSION"));

/// What an endpoint answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Why there was no answer. The text holds no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Events are not sent to this address.
    #[error(
        "the address lies in a network that events are not sent to; WEBHOOK_ALLOWED_NETWORKS allows more"
    )]
    Refused,
    /// The endpoint could not be reached, or did not answer.
    #[error("{0}")]
    Failed(String),
}

/// Sends events to where they may go.
pub struct Sender {
    targets: Arc<Targets>,
    names: Arc<dyn Resolve>,
    ca_pem: Option<Vec<u8>>,
    /// Made when the first event is sent: reading the system's authorities takes a moment.
    clients: OnceLock<Result<Clients, String>>,
}

/// A client for each scheme, because addresses that are spoken to without TLS are fewer.
struct Clients {
    https: Client,
    http: Client,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender that looks names up in the way of this machine.
    #[must_use]
    pub fn new(settings: &WebhookSettings) -> Self {
        Self::with_names(settings, Arc::new(SystemNames))
    }

    /// The same with another way to look names up.
    #[must_use]
    pub fn with_names(settings: &WebhookSettings, names: Arc<dyn Resolve>) -> Self {
        Self {
            targets: Arc::new(Targets::new(settings.allowed_networks.clone())),
            names,
            ca_pem: settings.ca.as_ref().map(|ca| ca.pem.clone()),
            clients: OnceLock::new(),
        }
    }

    /// Where events may be sent.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Sends a body with these headers, and waits for the answer's head. Its body is not read: nobody
    /// needs it, and what a stranger's server says belongs into no record.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        &self,
        url: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Answer, SendError> {
        // Once more, because the networks that are allowed may have changed since it was stored.
        let target = TargetUrl::parse(url, &self.targets).map_err(|_| SendError::Refused)?;
        let clients = self.clients.get_or_init(|| self.make_clients());
        let clients = clients
            .as_ref()
            .map_err(|error| SendError::Failed(error.clone()))?;
        let client = match target.is_plain() {
            true => &clients.http,
            false => &clients.https,
        };
        let response = client
            .post(target.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .headers(headers)
            .body(Bytes::from(body))
            .send()
            .await
            .map_err(failure)?;
        Ok(Answer {
            status: response.status(),
            retry_after: retry_after(response.headers().get(RETRY_AFTER)),
        })
    }

    fn make_clients(&self) -> Result<Clients, String> {
        let client = |takes: fn(&Targets, std::net::IpAddr) -> bool| {
            let names = Names {
                inner: Arc::clone(&self.names),
                targets: Arc::clone(&self.targets),
                takes,
            };
            client::builder(self.ca_pem.as_deref())?
                .dns_resolver(Arc::new(names))
                .connect_timeout(CONNECT)
                .timeout(ANSWER)
                .build()
                .map_err(told)
        };
        Ok(Clients {
            https: client(Targets::takes)?,
            http: client(Targets::takes_plain)?,
        })
    }
}

/// The seconds of a `Retry-After`. Its other form, a date, is for caches more than for programs.
fn retry_after(header: Option<&http::HeaderValue>) -> Option<Duration> {
    let seconds = header?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn failure(error: reqwest::Error) -> SendError {
    if cause::<NotATarget>(&error).is_some() {
        return SendError::Refused;
    }
    SendError::Failed(told(error))
}

/// Looks names up and leaves out every address that events may not be sent to.
struct Names {
    inner: Arc<dyn Resolve>,
    targets: Arc<Targets>,
    takes: fn(&Targets, std::net::IpAddr) -> bool,
}

/// No address of a name is one that events may be sent to.
#[derive(Debug, thiserror::Error)]
#[error("no address of this name is one that events are sent to")]
struct NotATarget;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let looked_up = self.inner.resolve(name);
        let (targets, takes) = (Arc::clone(&self.targets), self.takes);
        Box::pin(async move {
            let taken: Vec<SocketAddr> = looked_up
                .await?
                .filter(|address| takes(&targets, address.ip()))
                .collect();
            if taken.is_empty() {
                return Err(NotATarget.into());
            }
            Ok(Box::new(taken.into_iter()) as Addrs)
        })
    }
}

/// Names as this machine understands them.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found.map_err(|error: io::Error| error)?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The headers of an event after the Standard Webhooks specification.
pub(super) fn headers(pairs: [(&'static str, String); 3]) -> Result<HeaderMap, http::Error> {
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        headers.insert(HeaderName::from_static(name), value.try_into()?);
    }
    Ok(headers)
}
