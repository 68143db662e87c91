//! Files that are refused: the right words, and nothing of them left on any store. Names, digests and
//! forms that are refused whatever the file are in the catalogue of hostile requests.

use bytes::Bytes;
use http::Method;
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};

use crate::support::{Backend, Shop, Traces, Who, answer, noise, stl};

/// Small, so that a file that is too large costs nothing.
const MAX_UPLOAD_BYTES: usize = 300_000;

#[tokio::test(flavor = "multi_thread")]
async fn refused_uploads_leave_nothing_on_local_disk() {
    refuse(Backend::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_uploads_leave_nothing_on_s3() {
    refuse(Backend::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_uploads_leave_nothing_on_both() {
    refuse(Backend::Hybrid).await;
}

async fn refuse(backend: Backend) {
    let limit = MAX_UPLOAD_BYTES.to_string();
    let settings = [
        ("MAX_UPLOAD_BYTES", limit.as_str()),
        ("MAX_FORM_FILES", "3"),
    ];
    let shop = Shop::start_with(backend, &settings).await;
    let model = shop.draft_model().await;
    refuse_files(&shop, &model).await;
    let assets = answer(shop.get(Who::Artist, &format!("/v1/models/{model}/assets"))).await;
    assert_eq!(assets.json(200)["data"].as_array().unwrap().len(), 0);
}

/// Sends what must be refused, and looks for what it left.
async fn assert_refused(shop: &Shop, request: RequestBuilder, status: u16, code: &str, what: &str) {
    answer(request).await.assert_problem(status, code, what);
    assert_eq!(shop.traces().await, Traces::NONE, "{what}");
}

async fn refuse_files(shop: &Shop, model: &str) {
    let whole = stl(1_000, 1);
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0".as_slice();
    let program = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9_000]].concat();
    let script = b"#!/bin/sh\nrm -rf /\n".as_slice();
    let cases: [(&str, Bytes, &str, u16, &str); 7] = [
        (
            "a cut STL",
            whole.slice(..whole.len() - 1),
            "a.stl",
            422,
            "invalid_model_file",
        ),
        (
            "a header alone",
            whole.slice(..84),
            "a.stl",
            422,
            "invalid_model_file",
        ),
        ("nothing", Bytes::new(), "a.stl", 422, "invalid_model_file"),
        (
            "a picture",
            Bytes::copy_from_slice(png),
            "a.stl",
            422,
            "invalid_model_file",
        ),
        (
            "a program",
            program.into(),
            "a.bin",
            415,
            "unsupported_type",
        ),
        (
            "a script",
            Bytes::copy_from_slice(script),
            "setup",
            415,
            "unsupported_type",
        ),
        (
            "too large",
            noise(MAX_UPLOAD_BYTES + 1, 2),
            "a.stl",
            413,
            "too_large",
        ),
    ];
    for (what, bytes, filename, status, code) in cases {
        let put = format!("/v1/models/{model}/assets/{filename}");
        let announced = shop
            .call(Who::Artist, Method::PUT, &put)
            .body(bytes.clone());
        assert_refused(shop, announced, status, code, &format!("PUT of {what}")).await;
        let chunked = shop
            .call(Who::Artist, Method::PUT, &put)
            .body(in_chunks(&bytes));
        // Without an announced size noise shows that it is no STL before it is too large.
        if status != 413 {
            assert_refused(
                shop,
                chunked,
                status,
                code,
                &format!("chunked PUT of {what}"),
            )
            .await;
        }
        // A good file before it is refused with it, and one after it is not taken either.
        let form = Form::new()
            .part("file", file(whole.clone(), "good.stl"))
            .part("file", file(bytes, filename))
            .part("file", file(whole.clone(), "better.stl"));
        let form = shop
            .call(
                Who::Artist,
                Method::POST,
                &format!("/v1/models/{model}/assets"),
            )
            .multipart(form);
        if status != 413 {
            assert_refused(shop, form, status, code, &format!("a form with {what}")).await;
        }
    }
    let large = stl(6_001, 3);
    assert!(large.len() > MAX_UPLOAD_BYTES);
    let path = format!("/v1/models/{model}/assets");
    let chunked = shop
        .call(Who::Artist, Method::PUT, &format!("{path}/a.stl"))
        .body(in_chunks(&large));
    assert_refused(
        shop,
        chunked,
        413,
        "too_large",
        "a chunked PUT that is too large",
    )
    .await;
    let form = Form::new()
        .part("file", file(whole, "good.stl"))
        .part("file", file(large, "a.stl"));
    let form = shop.call(Who::Artist, Method::POST, &path).multipart(form);
    assert_refused(
        shop,
        form,
        413,
        "too_large",
        "a form with a file that is too large",
    )
    .await;
}

fn file(bytes: Bytes, name: &str) -> Part {
    Part::stream(bytes).file_name(name.to_owned())
}

/// A body whose size is not announced.
fn in_chunks(bytes: &Bytes) -> reqwest::Body {
    let pieces: Vec<_> = bytes
        .chunks(64 * 1024)
        .map(Bytes::copy_from_slice)
        .map(Ok::<_, std::io::Error>)
        .collect();
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}
