//! How often a caller may ask: per address before anything is looked up, per key once it is known.
//!
//! [`per_address`] is a layer inside of [`super::layers::around`], which notes the address and
//! writes the problem's body, and inside of CORS, so that a page may read the refusal.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use http::header::RETRY_AFTER;
use stockroom_domain::KeyId;
use tokio::time::Instant;

use crate::app::App;
use crate::config::{CallerSettings, Rate};
use crate::http::address::ClientAddress;
use crate::http::codes::Code;
use crate::http::problem::Problem;

/// The limits in force, and who has asked how often. Each server counts for itself.
#[derive(Debug)]
pub struct RateLimits {
    per_key: Option<Limit<KeyId>>,
    per_address: Option<Limit<IpAddr>>,
}

impl RateLimits {
    /// Limits as they are set, of which nobody has used anything.
    #[must_use]
    pub fn new(settings: &CallerSettings) -> Self {
        Self {
            per_key: settings.rate_limit_per_key.map(Limit::new),
            per_address: settings.rate_limit_per_address.map(Limit::new),
        }
    }

    /// Counts a call with a key.
    ///
    /// # Errors
    /// 429 when the key calls too often.
    pub fn admit_key(&self, key: KeyId) -> Result<(), Problem> {
        self.per_key
            .as_ref()
            .map_or(Ok(()), |limit| limit.admit(&key))
    }

    /// Counts a call from an address.
    ///
    /// # Errors
    /// 429 when the address calls too often.
    pub fn admit_address(&self, ClientAddress(address): ClientAddress) -> Result<(), Problem> {
        let limit = self.per_address.as_ref();
        limit.map_or(Ok(()), |limit| limit.admit(&subscriber(address)))
    }

    /// Whether addresses are limited at all.
    #[must_use]
    pub const fn counts_addresses(&self) -> bool {
        self.per_address.is_some()
    }
}

/// The layer that refuses addresses which call too often. Whoever asks whether the process runs
/// is always answered.
pub async fn per_address(State(app): State<App>, request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    let path = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let admitted = match extensions.get::<ClientAddress>() {
        Some(address) if !matches!(path, Some("/livez" | "/readyz")) => {
            app.rate_limits.admit_address(*address)
        }
        _ => Ok(()),
    };
    match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whom an address stands for. Who has one IPv6 address has at least the 2^64 of its network
/// (RFC 6177), so the network counts.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(network).into()
        }
    }
}

/// After so many calls those who have not called for a while are forgotten, at the earliest.
const PRUNE_AFTER: usize = 1_024;

/// One rate for each of many callers.
#[derive(Debug)]
struct Limit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, RunningClock, NoOpMiddleware<Duration>>,
    calls: AtomicUsize,
    prune_after: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(rate: Rate) -> Self {
        Self {
            limiter: RateLimiter::new(
                quota(rate),
                DashMapStateStore::default(),
                RunningClock::new(),
            ),
            calls: AtomicUsize::new(0),
            prune_after: AtomicUsize::new(PRUNE_AFTER),
        }
    }

    fn admit(&self, caller: &K) -> Result<(), Problem> {
        self.prune_now_and_then();
        self.limiter.check_key(caller).map_err(|refusal| {
            let now = self.limiter.clock().now();
            too_many(refusal.wait_time_from(now))
        })
    }

    /// Forgets callers who could make a whole burst again. It is done after as many calls as there
    /// were callers left the last time, so that it costs each call little, and no more callers are
    /// remembered than twice those who called a moment ago.
    fn prune_now_and_then(&self) {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if calls < self.prune_after.load(Ordering::Relaxed) {
            return;
        }
        self.calls.store(0, Ordering::Relaxed);
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        let callers = self.limiter.len();
        self.prune_after
            .store(callers.max(PRUNE_AFTER), Ordering::Relaxed);
    }
}

/// What the limiter makes of a rate: evenly spread calls, and the calls of one second at once.
fn quota(rate: Rate) -> Quota {
    let interval = rate.interval();
    let in_a_second = Duration::from_secs(1).as_nanos() / interval.as_nanos();
    let burst = u32::try_from(in_a_second).ok().and_then(NonZeroU32::new);
    Quota::with_period(interval)
        .unwrap_or(Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst.unwrap_or(NonZeroU32::MIN))
}

/// The answer to a call that came too early.
fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = seconds.max(1);
    Problem::new(
        Code::TooManyRequests,
        format!("This is more often than allowed. Wait {seconds} s before the next request."),
    )
    .with_header(RETRY_AFTER, seconds.into())
}

/// The time since the limits were made. The wall clock would not do: set back by an hour, it
/// would lock everybody out for an hour.
#[derive(Debug, Clone)]
struct RunningClock {
    started: Instant,
}

impl RunningClock {
    fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for RunningClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(count: u32, per: Duration) -> Limit<IpAddr> {
        Limit::new(Rate::new(count, per).unwrap())
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn retry_after(refused: Result<(), Problem>) -> String {
        let response = refused.unwrap_err().into_body("req_1");
        let value = response.headers()[RETRY_AFTER].to_str().unwrap();
        value.to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_s_worth_may_come_at_once_and_the_rest_evenly() {
        let limit = limit(600, Duration::from_secs(60));
        let admitted = || {
            (0..100)
                .filter(|_| limit.admit(&address(1)).is_ok())
                .count()
        };
        assert_eq!(admitted(), 10);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(admitted(), 3);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(admitted(), 10);
        assert!(limit.admit(&address(2)).is_ok(), "each for itself");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_in_whole_seconds_and_long_enough() {
        let slow = limit(1, Duration::from_secs(60));
        assert!(slow.admit(&address(1)).is_ok());
        assert_eq!(retry_after(slow.admit(&address(1))), "60");
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(retry_after(slow.admit(&address(1))), "60");
        tokio::time::advance(Duration::from_millis(101)).await;
        assert_eq!(retry_after(slow.admit(&address(1))), "59");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(slow.admit(&address(1)).is_ok());

        let fast = limit(1_000, Duration::from_secs(1));
        let refused = (0..=1_000).find_map(|_| fast.admit(&address(1)).err());
        assert_eq!(retry_after(Err(refused.unwrap())), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_long_ago_are_forgotten() {
        let limit = limit(10, Duration::from_secs(1));
        for number in 0..100_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            assert!(limit.admit(&address).is_ok());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // At a thousand callers in a second.
        assert!(limit.limiter.len() < 5_000, "{}", limit.limiter.len());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let subscriber = |text: &str| subscriber(text.parse().unwrap()).to_string();
        assert_eq!(subscriber("192.0.2.7"), "192.0.2.7");
        assert_eq!(subscriber("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(subscriber("2001:db8:1:2::"), "2001:db8:1:2::");
    }
}
