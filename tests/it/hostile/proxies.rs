//! Clients behind a proxy are told apart.

use std::num::NonZeroU32;

use crate::support::TestApp;

async fn refused_of(app: &TestApp, forwarded_for: impl Fn(usize) -> String) -> usize {
    let mut refused = 0;
    for request in 0..10 {
        let forwarded = forwarded_for(request);
        let answer = app
            .get_with("/v1/orders", &[("x-forwarded-for", &forwarded)])
            .await;
        refused += usize::from(answer.status == 429);
    }
    refused
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_a_limit_of_its_own() {
    let app = TestApp::start_with(|config| {
        config.http.rate_limit = NonZeroU32::new(1);
        config.http.trusted_proxy_hops = 1;
    })
    .await;

    let others = refused_of(&app, |request| format!("203.0.113.{request}")).await;
    let one = refused_of(&app, |request| format!("203.0.113.{request}, 198.51.100.7")).await;

    assert_eq!(others, 0, "ten clients send one request each");
    assert!(
        one > 0,
        "what the client itself writes into the header does not count"
    );
    app.stop().await;
}

#[tokio::test]
async fn without_trusted_proxies_the_header_does_not_count() {
    let app = TestApp::start_with(|config| config.http.rate_limit = NonZeroU32::new(1)).await;

    assert!(refused_of(&app, |request| format!("203.0.113.{request}")).await > 0);
    app.stop().await;
}
