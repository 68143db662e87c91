//! A bucket that is away while files are uploaded: everything is acknowledged, and caught up with
//! when it is back.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use http::Method;
use stockroom::workers::engine;
use stockroom_domain::StoreName;
use tokio::time::Instant;

use crate::audit::{self, Rest};
use crate::client::send;
use crate::dice::{self, Dice};
use crate::support::{Backend, Who};
use crate::world::World;

const UPLOADS: usize = 1_000;
const SIZE_BYTES: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_during_an_outage_is_caught_up_with() {
    let test = "what_was_uploaded_during_an_outage_is_caught_up_with";
    let seed = dice::seed(test, 61);
    let mut dice = Dice::new(seed);
    let world = Arc::new(World::create(Backend::Hybrid, &[], None).await);
    let mut server = world.serve().await;
    engine::round(&server.app).await;
    server.start_engine();
    world.chaos().set_online(false).unwrap();

    let began = Instant::now();
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|number| (number, dice.noise(SIZE_BYTES)))
        .collect();
    let statuses: Vec<u16> = stream::iter(&uploads)
        .map(async |(number, bytes)| {
            let path = format!("/v1/objects/models/outage/{number}.bin");
            let put = server
                .call(Who::Operator, Method::PUT, &path)
                .body(bytes.clone());
            send(put).await.unwrap().status
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let uploaded = began.elapsed();
    assert!(
        statuses.iter().all(|status| *status == 201),
        "each upload is acknowledged"
    );
    let owed = server.app.catalog.under_placed().await.unwrap();
    assert_eq!(owed.len(), 1, "{owed:?}");
    assert_eq!(
        (owed[0].store.clone(), owed[0].placements),
        (StoreName::S3, UPLOADS as u64)
    );

    world.chaos().set_online(true).unwrap();
    let began = Instant::now();
    // Nobody rings and no clock jumps: the engine notices by itself that the bucket is back.
    while !server.app.catalog.under_placed().await.unwrap().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "the engine does not catch up"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "figure: catch-up of {UPLOADS} objects of {SIZE_BYTES} bytes: {:.1} s \
         (uploaded in {:.1} s without the bucket)",
        began.elapsed().as_secs_f64(),
        uploaded.as_secs_f64(),
    );
    server.kill().await;
    let server = world.serve().await;
    audit::settle(&world, &server, Rest::Agreed, test).await;
    for (number, bytes) in &uploads {
        let location = format!("models/outage/{number}.bin");
        assert!(
            world.chaos().body(&location).as_ref() == Some(bytes),
            "{location}"
        );
    }
}
