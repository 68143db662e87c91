//! Where a call comes from, as the rest of the server sees it.

use http::Method;

use crate::support::{Backend, Shop, Who, answer};

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_that_of_the_connection_unless_a_trusted_proxy_says_otherwise() {
    for (trusted, forwarded, address) in [
        ("none", Some("203.0.113.5"), "127.0.0.1"),
        ("10.0.0.0/8", Some("203.0.113.5"), "127.0.0.1"),
        ("127.0.0.1", Some("203.0.113.5"), "203.0.113.5"),
        ("127.0.0.1", Some("1.1.1.1, 203.0.113.5"), "203.0.113.5"),
        ("127.0.0.1", Some("[2001:db8::7]:4711"), "2001:db8::7"),
        ("127.0.0.1", Some("unknown"), "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
    ] {
        let shop = Shop::start_with(Backend::Local, &[("TRUSTED_PROXIES", trusted)]).await;
        let mut request = shop
            .call(Who::Operator, Method::PUT, "/v1/objects/models/a")
            .header("forwarded", "for=198.51.100.9")
            .header("x-real-ip", "198.51.100.9")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "evil.example");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let put = answer(request.body("bytes")).await;
        assert_eq!(put.status, 201);
        let said = String::from_utf8_lossy(&put.body).into_owned();
        assert!(!said.contains("evil"), "{said}");
        assert_eq!(put.header("strict-transport-security"), "");
        let record = answer(shop.get(Who::Operator, "/v1/audit")).await.json(200);
        assert_eq!(
            record["data"][0]["address"], address,
            "{trusted} {forwarded:?}"
        );
    }
}
