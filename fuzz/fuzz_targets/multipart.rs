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
use stockroom::http::assets::between;
use stockroom::http::assets::form::filename;
use stockroom_fuzz::memory::{Counting, most_bytes};
use stockroom_fuzz::{lines, pieces};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a form takes, however long it is, when its files go on as they come.
const MAX_BYTES: usize = 256 * 1024;

/// How often a body is repeated to make a long one, of which no part may be gathered.
const REPEATED: usize = 64;

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
    let Some((seed, media_type)) = media_type.split_first() else {
        return;
    };
    let Ok(media_type) = HeaderValue::from_bytes(media_type) else {
        return;
    };
    let whole = block_on(read(&media_type, vec![Bytes::copy_from_slice(body)], true));
    let cut = |bytes: &[u8]| -> Vec<Bytes> {
        pieces(bytes, *seed)
            .into_iter()
            .map(Bytes::copy_from_slice)
            .collect()
    };
    let in_pieces = block_on(read(&media_type, cut(body), true));
    assert_eq!(in_pieces, whole, "the form depends on the pieces");
    if *seed % 8 == 0 {
        let long = cut(&body.repeat(REPEATED));
        let (_, most) = most_bytes(|| block_on(read(&media_type, long, false)));
        assert!(
            most < MAX_BYTES,
            "{most} bytes for {}",
            body.len() * REPEATED
        );
    }
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

/// Reads a form to its end, or to where it breaks, and keeps its files if that is wanted. Nothing when
/// the media type is that of no form.
async fn read(media_type: &HeaderValue, pieces: Vec<Bytes>, keeps: bool) -> Option<Form> {
    let pieces = pieces.into_iter().map(Ok::<_, Infallible>);
    let mut request = Request::new(Body::from_stream(stream::iter(pieces)));
    request
        .headers_mut()
        .insert(CONTENT_TYPE, media_type.clone());
    let (request, between) = between::bounded(request);
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
        between.file_begins();
        let mut bytes = Vec::new();
        loop {
            match field.chunk().await {
                Ok(Some(chunk)) if keeps => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Some(form),
            }
        }
        between.file_ends();
        if keeps {
            form.fields.push((name, bytes));
        }
    }
}
