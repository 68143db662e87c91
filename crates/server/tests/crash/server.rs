//! The real server with the library loaded into it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::control::{ControlPage, Order, library};
use crate::site::Site;

/// A process of `stockroom serve`. It ends with its owner.
pub(crate) struct Server {
    pub(crate) page: ControlPage,
    child: Child,
    /// Where it listens; none when it died before.
    address: Option<String>,
    client: reqwest::Client,
}

impl Server {
    /// Starts one and waits until it listens. With an order it counts from its first call on.
    pub(crate) async fn start(site: &Site, order: Option<Order>) -> Self {
        let page = ControlPage::create(site.beside("page"));
        if let Some(order) = order {
            page.arm(order);
        }
        let log = std::fs::File::create(site.beside("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_stockroom"))
            .args(["serve", "--json"])
            .env_clear()
            .envs(site.variables())
            .env("LD_PRELOAD", library())
            .env("CRASH_PAGE", page.path())
            .current_dir(site.beside(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A server that cannot start says why, in the same form.
        let address = lines.next_line().await.unwrap().and_then(|line| {
            let said: Value = serde_json::from_str(&line).unwrap();
            Some(said["address"].as_str()?.to_owned())
        });
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            page,
            child,
            address,
            client,
        }
    }

    /// Whether it came so far that it listens.
    pub(crate) fn listens(&self) -> bool {
        self.address.is_some()
    }

    /// A request to a path of this server; none when it does not listen.
    pub(crate) fn call(
        &self,
        key: &str,
        method: http::Method,
        path: &str,
    ) -> Option<reqwest::RequestBuilder> {
        let address = self.address.as_ref()?;
        let request = self
            .client
            .request(method, format!("http://{address}{path}"));
        Some(request.header("authorization", format!("Bearer {key}")))
    }

    /// Whether the process has ended.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends the process without a warning, when it has not ended.
    pub(crate) async fn kill(&mut self) -> ExitStatus {
        self.child.start_kill().ok();
        self.child.wait().await.unwrap()
    }
}
