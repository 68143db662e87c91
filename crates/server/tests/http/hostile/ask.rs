//! Asks the cases of a group, one after the other, and reports all that are wrong together.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::row::{Ask, Must, Row, ensure};
use super::stage::{CANARY, Stage};
use super::world::World;
use crate::support::{Answer, Shop, Who, answer};

pub(super) async fn ask_all(stage: &Stage, rows: Vec<Row>) {
    let (mut wrong, asked) = (Vec::new(), rows.len());
    let mut before = World::seen(stage).await;
    for row in rows {
        let (name, is_kept) = (row.name, row.is_kept);
        let mut note = |what: String| wrong.push(format!("{name}: {what}"));
        for (number, (ask, must)) in row.steps.into_iter().enumerate() {
            if let Err(what) = asked_once(&stage.shop, ask, &must).await {
                note(format!("step {}: {what}", number + 1));
            }
        }
        let after = World::seen(stage).await;
        match before.difference(&after) {
            Some(difference) if !is_kept => note(format!("it changed:\n      {difference}")),
            None if is_kept => note("nothing was kept".to_owned()),
            _ => {}
        }
        if let Some(difference) = before.outside().difference(&after.outside()) {
            note(format!("it changed what lies outside:\n      {difference}"));
        }
        before = after;
        if answer(stage.shop.get(Who::Nobody, "/livez")).await.status != 200 {
            note("the server does not live any more".to_owned());
        }
    }
    assert!(
        wrong.is_empty(),
        "{:?}: {} faults in {asked} cases:\n  {}",
        stage.shop.backend,
        wrong.len(),
        wrong.join("\n  ")
    );
}

async fn asked_once(shop: &Shop, ask: Ask, must: &Must) -> Result<(), String> {
    let (method, got) = match ask {
        Ask::Wire(bytes) => {
            let is_head = bytes.starts_with(b"HEAD ");
            let method = if is_head { Method::HEAD } else { Method::GET };
            (method, exchange(shop, &bytes).await?)
        }
        Ask::Call(request) => {
            let (client, request) = request.build_split();
            let request = request.map_err(|error| format!("no request: {error:?}"))?;
            let method = request.method().clone();
            let response = client.execute(request).await;
            let response = response.map_err(|error| format!("no answer: {error:?}"))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await;
            let body = body.map_err(|error| format!("a cut answer: {error:?}"))?;
            let got = Answer {
                status,
                headers,
                body,
            };
            (method, got)
        }
    };
    let got_text = String::from_utf8_lossy(&got.body);
    ensure(!got_text.contains(CANARY), "a file outside was read")?;
    match must {
        Must::Refuse(status, code) if method == Method::HEAD => {
            let is_problem = got.header("content-type") == "application/problem+json";
            let is_right = got.status == *status && is_problem && got.body.is_empty();
            ensure(is_right, format!("no HEAD of {status} {code}: {got:?}"))
        }
        Must::Refuse(status, code) => got.is_problem(*status, code),
        Must::Drop(status) => {
            let is_right = got.status == *status && got.body.is_empty();
            ensure(is_right, format!("not dropped with {status}: {got:?}"))
        }
        Must::Answer(status, holds) => {
            let right = got.status == *status;
            ensure(
                right,
                format!("not {status}: {} {got_text:.500}", got.status),
            )?;
            holds(&got).map_err(|what| format!("{what}: {got:?}"))
        }
    }
}

/// Writes bytes as they are and reads what comes until the connection ends. A server may answer and
/// close before it has taken everything.
async fn exchange(shop: &Shop, sent: &[u8]) -> Result<Answer, String> {
    let mut stream = shop.connect().await.map_err(|error| error.to_string())?;
    let (mut reading, mut writing) = stream.split();
    let mut received = Vec::new();
    let both = async {
        let written = async {
            let _ = writing.write_all(sent).await;
        };
        let read = async {
            let _ = reading.read_to_end(&mut received).await;
        };
        tokio::join!(written, read)
    };
    if timeout(Duration::from_secs(10), both).await.is_err() {
        return Err(format!(
            "no end of the answer after 10 s: {:?}",
            String::from_utf8_lossy(&received)
        ));
    }
    ensure(
        !received.is_empty(),
        "the connection ended without an answer",
    )?;
    Ok(Answer::parse(&received))
}
