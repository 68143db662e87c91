//! The catalogue of hostile requests: what somebody who means harm sends, what must come of it,
//! and that nothing else does.
//!
//! A case is a [`Row`](row::Row) in the table of its group: a name, what is sent, and the status and
//! code that must come, or what must hold where the request only looks hostile. Around each row
//! `ask.rs` looks at the world: nothing that was refused left a file, a row or an upload; no file
//! beside the store was read or written, also not by the links that lie planted in it; and the
//! server still lives. All rows of a group are asked before any of them is reported.
//!
//! **To add a case**, write a row into the table of its group. A client library tidies up what it
//! sends, so what must arrive as it stands is written by `Stage::wire`.

mod ask;
mod digests;
mod forwarded;
mod heads;
mod keys;
mod labels;
mod links;
mod multipart;
mod names;
mod questions;
mod ranges;
mod row;
mod stage;
mod webhooks;
mod world;

use std::collections::BTreeSet;

use stockroom::workers::engine;

use crate::support::Backend;
use ask::ask_all;
use stage::Stage;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_climbs_is_refused_in_every_encoding() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, keys::climbing(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_no_key_is_refused_by_every_call_that_takes_one() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, keys::none(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_looks_hostile_is_kept_as_it_is_on_local_disk() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, keys::literal(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_looks_hostile_is_kept_as_it_is_on_s3() {
    let stage = Stage::set(Backend::S3).await;
    ask_all(&stage, keys::literal(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_planted_in_the_store_leads_nowhere() {
    for backend in [Backend::Local, Backend::Hybrid] {
        let stage = Stage::set(backend).await;
        ask_all(&stage, keys::links_on_disk(&stage)).await;
        // Nor do the workers follow it, who sweep, copy and delete. Each look at the world claims what
        // the sweep would look for, for 30 days.
        let before = World::seen(&stage).await.outside();
        stage.shop.set_offset_s(31 * 86_400);
        for _ in 0..20 {
            engine::round(&stage.shop.app).await;
        }
        let after = World::seen(&stage).await.outside();
        assert_eq!(before.difference(&after), None, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_hides_something_is_refused_on_local_disk() {
    names_on(Backend::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_hides_something_is_refused_on_s3() {
    names_on(Backend::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_hides_something_is_refused_on_both() {
    names_on(Backend::Hybrid).await;
}

async fn names_on(backend: Backend) {
    let stage = Stage::set(backend).await;
    ask_all(&stage, names::rows(&stage)).await;
    names::are_shown_harmlessly(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_breaks_off_leaves_nothing_on_local_disk() {
    forms_on(Backend::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_breaks_off_leaves_nothing_on_s3() {
    forms_on(Backend::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_breaks_off_leaves_nothing_on_both() {
    forms_on(Backend::Hybrid).await;
}

async fn forms_on(backend: Backend) {
    let stage = Stage::set(backend).await;
    ask_all(&stage, multipart::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_not_gathered_in_memory_until_a_part_begins() {
    let stage = Stage::set(Backend::Local).await;
    for beginning in [
        "--b\r\nContent-Disposition: ",
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"",
        "a preamble without a boundary",
        "--b",
    ] {
        let taken_bytes = multipart::endless(&stage, beginning).await;
        // What the buffers of both ends and of the system hold was taken too.
        assert!(taken_bytes < 32 << 20, "{beginning:?}: {taken_bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_wrong_keeps_nothing_on_local_disk() {
    digests_on(Backend::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_wrong_keeps_nothing_on_s3() {
    digests_on(Backend::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_wrong_keeps_nothing_on_both() {
    digests_on(Backend::Hybrid).await;
}

async fn digests_on(backend: Backend) {
    let stage = Stage::set(backend).await;
    ask_all(&stage, digests::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_gives_its_bytes_or_all_or_none() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, ranges::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_which_anything_is_altered_opens_nothing() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, links::rows(&stage).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_changed_or_kept_back_changes_nothing() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, webhooks::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_http_or_could_be_two_is_refused() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, heads::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_makes_no_other_caller_place_or_call() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, forwarded::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_about_an_object_can_be_said_again() {
    for backend in [Backend::Local, Backend::S3] {
        let stage = Stage::set(backend).await;
        ask_all(&stage, labels::rows(&stage)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_taken_for_nothing_but_what_it_says() {
    let stage = Stage::set(Backend::Local).await;
    ask_all(&stage, questions::rows(&stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_taken_for_nothing_but_what_it_says_with_postgres() {
    if let Some(stage) = Stage::set_on_postgres(Backend::Local).await {
        ask_all(&stage, questions::rows(&stage)).await;
        ask_all(&stage, names::rows(&stage)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_as_long_as_it_says() {
    let stage = Stage::set(Backend::Local).await;
    let groups = [
        ("keys that climb", keys::climbing(&stage)),
        ("no keys", keys::none(&stage)),
        ("odd keys", keys::literal(&stage)),
        ("links on disk", keys::links_on_disk(&stage)),
        ("names", names::rows(&stage)),
        ("multipart", multipart::rows(&stage)),
        ("digests", digests::rows(&stage)),
        ("ranges", ranges::rows(&stage)),
        ("signed URLs", links::rows(&stage).await),
        ("webhooks", webhooks::rows(&stage)),
        ("messages", heads::rows(&stage)),
        ("forwarded", forwarded::rows(&stage)),
        ("labels", labels::rows(&stage)),
        ("questions", questions::rows(&stage)),
    ];
    let (mut cases, mut requests, mut counts) = (0, 0, Vec::new());
    for (group, rows) in &groups {
        let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
        assert_eq!(names.len(), rows.len(), "{group}: two cases of one name");
        cases += rows.len();
        requests += rows.iter().map(|row| row.steps.len()).sum::<usize>();
        counts.push(format!("{group} {}", rows.len()));
    }
    println!(
        "figure: hostile catalogue: {cases} cases, {requests} requests: {}",
        counts.join(", ")
    );
    assert!(cases >= 120, "{cases}");
}
