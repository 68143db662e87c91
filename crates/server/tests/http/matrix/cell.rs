//! One cell: a caller asks, and everything about the answer is looked at.

use http::Method;
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::callers::{Callers, subject};
use super::rows::{Row, Sends};
use super::stock::{State, Stock};
use crate::support::{Answer, Shop, answer, stl};

pub(crate) struct Cell<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) callers: &'a Callers,
    pub(crate) stock: &'a Stock,
    pub(crate) row: &'a Row,
    pub(crate) caller: &'static str,
    /// Status and word.
    pub(crate) expected: &'static str,
}

/// What came of a cell.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u32,
    pub(crate) wrong: Vec<String>,
}

/// Whether an outcome, status and word, is a refusal.
pub(crate) fn is_refusal(outcome: &str) -> bool {
    status(outcome) >= 400
}

fn status(outcome: &str) -> u16 {
    outcome[..3].parse().unwrap()
}

/// A refusal says nothing of the file, not by a header either.
const HEADERS_OF_FILES: [&str; 6] = [
    "etag",
    "repr-digest",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "location",
];

const RANGE: &str = "bytes=100-199";

impl Cell<'_> {
    pub(crate) async fn ask(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let before = self.stock.record(self.shop).await;
        let (method, route) = self.row.route.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let path = match self.row.with_link {
            true => self.stock.link.clone(),
            false => self.with_query(&self.stock.path(route)),
        };
        let first = self.send(&method, &path, None).await;
        outcome.note(self, "", self.wrong_with(&first).await);
        if method == Method::GET {
            let head = self.send(&Method::HEAD, &path, None).await;
            outcome.note(self, " by HEAD", self.wrong_with_head(&head));
        }
        if method == Method::GET && self.row.is_about_bytes() {
            let part = self.send(&method, &path, Some(RANGE)).await;
            outcome.note(self, " with a range", self.wrong_with_part(&part).await);
        }
        if self.is_refused() {
            if self.stock.record(self.shop).await != before {
                outcome.note(self, "", Some("it changed something".to_owned()));
            }
            if self.status() == 404 || self.row.state != State::Published {
                let path = Stock::path_to_nothing(route).map(|path| self.with_query(&path));
                if let Some(path) = path.filter(|_| !first.body.is_empty()) {
                    let nothing = self.send(&method, &path, None).await;
                    outcome.note(self, "", self.tells_more(&first, &nothing));
                }
            }
        }
        outcome
    }

    fn with_query(&self, path: &str) -> String {
        match self.row.query {
            "" => path.to_owned(),
            query => format!("{path}?{}", self.stock.fill(query)),
        }
    }

    async fn send(&self, method: &Method, path: &str, range: Option<&str>) -> Answer {
        let request = self
            .callers
            .call(self.shop, self.caller, method.clone(), path);
        let request = match range {
            Some(range) => request.header("range", range),
            None => request,
        };
        answer(self.with_body(request)).await
    }

    fn with_body(&self, request: RequestBuilder) -> RequestBuilder {
        match self.row.sends {
            Sends::Nothing => request,
            Sends::Json(text) => request
                .header("content-type", "application/json")
                .body(self.stock.fill(text)),
            Sends::File => request.body(stl(3, 1)),
            Sends::Form => {
                let file = Part::stream(stl(3, 1)).file_name("form.stl");
                request.multipart(Form::new().part("file", file))
            }
        }
    }

    fn status(&self) -> u16 {
        status(self.expected)
    }

    fn word(&self) -> &str {
        &self.expected[4..]
    }

    fn is_refused(&self) -> bool {
        is_refusal(self.expected)
    }

    async fn wrong_with(&self, answer: &Answer) -> Option<String> {
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status != self.status() {
            return Some(format!("{} {body:.300}", answer.status));
        }
        if self.is_refused() {
            return self.wrong_with_refusal(answer);
        }
        let json = || serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        let is_right = match self.word() {
            "text" => !answer.body.is_empty(),
            "nothing" => answer.body.is_empty(),
            "json" => json().is_object(),
            "file" => answer.body == self.stock.file,
            "object" => answer.body == self.stock.object,
            "link" => self.leads_to_the_file(json()["url"].as_str()).await,
            "redirect" => {
                self.leads_to_the_file(Some(answer.header("location")))
                    .await
            }
            "object_link" => {
                let url = json()["url"].as_str().unwrap_or_default().to_owned();
                crate::support::answer(self.shop.fetch(Method::GET, &url))
                    .await
                    .body
                    == self.stock.object
            }
            "listed" => self.lists(&json()),
            "unlisted" => json()["data"].is_array() && !self.lists(&json()),
            "purchases" => self.shows_own_purchases(&json()),
            word => panic!("{}: what is {word:?}?", self.row.name()),
        };
        (!is_right).then(|| format!("{} with another body: {body:.300}", answer.status))
    }

    fn wrong_with_refusal(&self, answer: &Answer) -> Option<String> {
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if problem["code"] != self.word() {
            return Some(format!("{} {}", answer.status, problem["code"]));
        }
        self.leaks(answer)
    }

    /// A byte of the file, or a header that describes it, in a refusal.
    fn leaks(&self, answer: &Answer) -> Option<String> {
        let header = HEADERS_OF_FILES
            .iter()
            .find(|name| answer.headers.contains_key(**name));
        if let Some(name) = header {
            return Some(format!("{} with the header {name}", answer.status));
        }
        // The head of an STL is 80 spaces, which is nobody's secret.
        let secrets = self.stock.file[80..].windows(12);
        let body = &answer.body[..];
        let has_bytes = secrets
            .step_by(12)
            .any(|secret| body.windows(12).any(|window| window == secret));
        has_bytes.then(|| format!("{} with bytes of the file", answer.status))
    }

    fn wrong_with_head(&self, answer: &Answer) -> Option<String> {
        if answer.status != self.status() || !answer.body.is_empty() {
            return Some(format!("{}, {} bytes", answer.status, answer.body.len()));
        }
        self.is_refused().then(|| self.leaks(answer)).flatten()
    }

    async fn wrong_with_part(&self, answer: &Answer) -> Option<String> {
        let whole = match self.word() {
            "file" => &self.stock.file,
            "object" => &self.stock.object,
            _ => return self.wrong_with(answer).await,
        };
        let is_right = answer.status == 206 && answer.body == whole[100..200];
        (!is_right).then(|| format!("{}, {} bytes", answer.status, answer.body.len()))
    }

    async fn leads_to_the_file(&self, url: Option<&str>) -> bool {
        let Some(url) = url else { return false };
        let there = answer(self.shop.fetch(Method::GET, url)).await;
        there.status == 200 && there.body == self.stock.file
    }

    fn lists(&self, list: &Value) -> bool {
        let data = list["data"].as_array().cloned().unwrap_or_default();
        let model = self.stock.model.to_string();
        data.iter().any(|entry| entry["id"] == model.as_str())
    }

    /// A user sees the own purchases alone, and the shop those of everybody.
    fn shows_own_purchases(&self, list: &Value) -> bool {
        let Some(data) = list["data"].as_array() else {
            return false;
        };
        let buyers: Vec<_> = data.iter().map(|entry| &entry["buyer"]).collect();
        match subject(self.caller) {
            Some(own) => {
                let has_bought = ["ben", "rita", "ezra", "uma"].contains(&own);
                buyers.iter().all(|buyer| **buyer == own) && buyers.is_empty() != has_bought
            }
            None if self.row.query.contains("buyer=ben") => buyers == ["ben"],
            None => buyers.len() == 4,
        }
    }

    /// What the refusal tells that an answer to a call about nothing does not.
    fn tells_more(&self, refused: &Answer, nothing: &Answer) -> Option<String> {
        let told = |answer: &Answer| {
            let mut problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            problem["request_id"].take();
            (answer.status, problem)
        };
        // 403 is for those who bought it once and 409 for those who made it: they know of it.
        let may_know = matches!(refused.status, 403 | 409);
        (!may_know && told(refused) != told(nothing)).then(|| {
            format!(
                "{:?}, where one that never was gives {:?}",
                told(refused),
                told(nothing)
            )
        })
    }
}

impl Outcome {
    fn note(&mut self, cell: &Cell<'_>, how: &str, wrong: Option<String>) {
        self.requests += 1;
        self.wrong.extend(wrong.map(|wrong| {
            let (row, caller, expected) = (cell.row.name(), cell.caller, cell.expected);
            format!("{row}{how} by {caller}: expected {expected}, got {wrong}")
        }));
    }
}
