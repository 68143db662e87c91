//! Forms with files, read as `POST /v1/models/{id}/assets` reads them: the first byte chooses how the
//! network cuts the body, the first line is the media type, and the body is the rest.
#![no_main]

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use libfuzzer_sys::fuzz_target;
use stockroom::http::assets::form::filename;
use stockroom_fuzz::memory::{Counting, most_bytes};
use stockroom_fuzz::{lines, pieces};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a form takes beside a copy of its body, which is held here.
const MAX_OVERHEAD_BYTES: usize = 256 * 1024;

/// The fields that were read whole: the name of the file, or why it is refused, and its bytes.
#[derive(Debug, Default, PartialEq)]
struct Form {
    fields: Vec<(Result<String, String>, Vec<u8>)>,
    is_whole: bool,
}

fuzz_target!(|input: &[u8]| {
    let Some(([media_type], body)) = lines(input) else {
        return;
    };
    let (Some((seed, media_type)), true) = (media_type.split_first(), body.len() < 1 << 20) else {
        return;
    };
    let Ok(media_type) = HeaderValue::from_bytes(media_type) else {
        return;
    };
    let whole = block_on(read(&media_type, &[body]));
    let cut = pieces(body, *seed);
    let (in_pieces, most) = most_bytes(|| block_on(read(&media_type, &cut)));
    assert!(
        most < 4 * body.len() + 64 * cut.len() + MAX_OVERHEAD_BYTES,
        "{most} bytes for {}",
        body.len()
    );
    assert_eq!(in_pieces, whole, "the form depends on the pieces");
    let mut total = 0;
    for (name, bytes) in whole.iter().flat_map(|form| &form.fields) {
        total += bytes.len();
        assert!(
            bytes.is_empty() || body.windows(bytes.len()).any(|part| part == bytes),
            "bytes that nobody sent"
        );
        match name {
            Ok(name) => {
                assert!((1..=255).contains(&name.len()));
                assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
                assert!(name != "." && name != "..");
            }
            Err(refused) => assert!(!refused.is_empty()),
        }
    }
    assert!(total <= body.len());
});

/// Reads a form to its end, or to where it breaks; nothing when the media type is that of no form.
async fn read(media_type: &HeaderValue, pieces: &[&[u8]]) -> Option<Form> {
    let pieces: Vec<Result<Bytes, Infallible>> = pieces
        .iter()
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let mut request = Request::new(Body::from_stream(stream::iter(pieces)));
    request
        .headers_mut()
        .insert(CONTENT_TYPE, media_type.clone());
    let mut multipart = Multipart::from_request(request, &()).await.ok()?;
    let mut form = Form::default();
    loop {
        let mut field = match multipart.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => {
                form.is_whole = true;
                return Some(form);
            }
            Err(_) => return Some(form),
        };
        let name = filename(&field)
            .map(|name| name.as_str().to_owned())
            .map_err(|problem| problem.detail().to_owned());
        let mut bytes = Vec::new();
        loop {
            match field.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => return Some(form),
            }
        }
        form.fields.push((name, bytes));
    }
}
