//! How many calls to the bucket an operation makes: no HEAD before GET, no list before PUT.

use chaos_s3::Operation;
use http::Method;
use stockroom::workers::{engine, identity};

use crate::support::{Backend, Shop, Traces, Who, answer, stl};

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_makes_the_calls_it_needs() {
    let shop = Shop::start_with(Backend::S3, &[("DELETE_GRACE", "0s")]).await;
    let chaos = shop.chaos();
    let model = shop.published_model().await;
    assert_eq!(
        chaos.count(Operation::Any),
        0,
        "the start and a listing need no call"
    );

    let bytes = stl(20, 5);
    let asset = shop.put_asset(&model, "tile.stl", bytes.clone()).await;
    assert_eq!(
        (
            chaos.count(Operation::PutObject),
            chaos.count(Operation::Any)
        ),
        (1, 1)
    );
    chaos.clear_calls();

    shop.sell(&model, "order 1").await;
    let download = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
    let streamed = answer(shop.get(Who::Buyer, &format!("{download}?delivery=stream"))).await;
    assert!(streamed.body == bytes);
    assert_eq!(
        (
            chaos.count(Operation::GetObject),
            chaos.count(Operation::Any)
        ),
        (1, 1)
    );
    chaos.clear_calls();

    for (method, path, status) in [
        (Method::HEAD, format!("{download}?delivery=stream"), 200),
        (Method::GET, format!("{download}?delivery=redirect"), 302),
    ] {
        assert_eq!(
            answer(shop.call(Who::Buyer, method, &path)).await.status,
            status
        );
        assert_eq!(chaos.count(Operation::Any), 0, "{path}");
    }

    let asset_path = format!("/v1/assets/{}", asset["id"].as_str().unwrap());
    assert_eq!(
        answer(shop.call(Who::Artist, Method::DELETE, &asset_path))
            .await
            .status,
        204
    );
    assert_eq!(
        chaos.count(Operation::Any),
        0,
        "the deletion answers before the bytes go"
    );
    // The first use of a store is none of the deletion's.
    identity::settle_all(&shop.app).await;
    chaos.clear_calls();
    while engine::round(&shop.app).await {}
    for once in [
        Operation::ListObjectVersions,
        Operation::DeleteObject,
        Operation::ListMultipartUploads,
    ] {
        assert_eq!(chaos.count(once), 1, "{once:?}");
    }
    assert_eq!(chaos.count(Operation::Any), 3, "{:?}", chaos.calls());
    shop.set_offset_s(2 * 3_600);
    while engine::round(&shop.app).await {}
    assert_eq!(shop.traces().await, Traces::NONE);
}
