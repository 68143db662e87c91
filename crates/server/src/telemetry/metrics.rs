//! What is counted, and how it is shown at `/metrics` (OpenMetrics text).

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use stockroom_domain::StoreName;
use stockroom_storage::{Call, DoubtKind, Observer};

/// What every name at `/metrics` begins with.
pub(super) const PREFIX: &str = "stockroom";

/// The counters of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: Family<OperationLabels, Counter>,
    operation_seconds: Family<StoreOperation, Histogram>,
    storage_bytes: Family<BytesLabels, Counter>,
    doubts: Family<DoubtLabels, Counter>,
    event_attempts: Family<AttemptLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram>,
    /// Requests that are being answered now, bodies included.
    pub requests_in_flight: Gauge,
    /// Bytes of files that callers sent.
    pub uploaded_bytes: Counter,
    /// Bytes of files that callers were sent through this server.
    pub delivered_bytes: Counter,
    /// Reads of files that were kept in memory.
    pub hot_reads: Counter,
    /// Calls of operators that could not be put on record.
    pub audit_failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    store: String,
    operation: &'static str,
    class: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreOperation {
    store: String,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BytesLabels {
    store: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoubtLabels {
    store: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that stand at zero.
    #[must_use]
    pub fn new() -> Self {
        // From a quarter of a millisecond to about a minute.
        let seconds = || Histogram::new(exponential_buckets(0.000_25, 4.0, 10));
        let mut metrics = Self {
            operations: Family::default(),
            operation_seconds: Family::new_with_constructor(seconds),
            storage_bytes: Family::default(),
            doubts: Family::default(),
            event_attempts: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            requests_in_flight: Gauge::default(),
            uploaded_bytes: Counter::default(),
            delivered_bytes: Counter::default(),
            hot_reads: Counter::default(),
            audit_failures: Counter::default(),
            registry: Registry::with_prefix(PREFIX),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "storage_operations",
            "Operations on stores; on S3 each is one request, with its price class",
            metrics.operations.clone(),
        );
        registry.register_with_unit(
            "storage_operation",
            "Time from the beginning of an operation on a store to its last byte",
            Unit::Seconds,
            metrics.operation_seconds.clone(),
        );
        registry.register_with_unit(
            "storage",
            "Bytes of bodies that went to stores and came from them",
            Unit::Bytes,
            metrics.storage_bytes.clone(),
        );
        registry.register(
            "read_doubts",
            "Reads that could not use a copy and went on with another",
            metrics.doubts.clone(),
        );
        registry.register(
            "event_attempts",
            "Attempts to send events to endpoints",
            metrics.event_attempts.clone(),
        );
        registry.register(
            "http_requests",
            "Requests that were answered",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request",
            "Time from a request to the head of its response",
            Unit::Seconds,
            metrics.request_seconds.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests that are being answered now",
            metrics.requests_in_flight.clone(),
        );
        registry.register_with_unit(
            "uploaded",
            "Bytes of files that callers sent",
            Unit::Bytes,
            metrics.uploaded_bytes.clone(),
        );
        registry.register_with_unit(
            "delivered",
            "Bytes of files that callers were sent through this server",
            Unit::Bytes,
            metrics.delivered_bytes.clone(),
        );
        registry.register(
            "file_cache_hits",
            "Reads of small files that were answered out of memory",
            metrics.hot_reads.clone(),
        );
        registry.register(
            "audit_failures",
            "Calls of operators that could not be put on record",
            metrics.audit_failures.clone(),
        );
        metrics
    }

    /// Counts a request that was answered. `route` is the pattern, never the path: a path can
    /// hold a signature.
    pub fn request(
        &self,
        route: &str,
        method: &'static str,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let labels = RequestLabels {
            route: route.to_owned(),
            method,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let RequestLabels { route, method, .. } = labels;
        self.request_seconds
            .get_or_create(&RouteLabels { route, method })
            .observe(elapsed.as_secs_f64());
    }

    /// Counts a copy that a read could not use.
    pub fn doubt(&self, store: &StoreName, kind: DoubtKind) {
        let labels = DoubtLabels {
            store: store.to_string(),
            kind: kind.as_str(),
        };
        self.doubts.get_or_create(&labels).inc();
    }

    /// Counts an attempt to send an event to an endpoint.
    pub fn event_attempt(&self, outcome: &'static str) {
        self.event_attempts
            .get_or_create(&AttemptLabels { outcome })
            .inc();
    }

    /// All counters, and these gauges, as OpenMetrics text.
    #[must_use]
    pub fn render(&self, gauges: &Registry) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, gauges))
            .and_then(|()| encode_eof(&mut text));
        text
    }
}

impl Observer for Metrics {
    fn call(&self, call: &Call<'_>) {
        let (store, operation) = (call.store.to_string(), call.operation.as_str());
        self.operations
            .get_or_create(&OperationLabels {
                store: store.clone(),
                operation,
                class: call.operation.billing_class().as_str(),
                outcome: call.outcome.as_str(),
            })
            .inc();
        for (direction, bytes) in [("sent", call.sent_bytes), ("received", call.received_bytes)] {
            if bytes > 0 {
                let labels = BytesLabels {
                    store: store.clone(),
                    direction,
                };
                self.storage_bytes.get_or_create(&labels).inc_by(bytes);
            }
        }
        self.operation_seconds
            .get_or_create(&StoreOperation { store, operation })
            .observe(call.elapsed.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use stockroom_storage::{Operation, Outcome};

    use super::*;

    #[test]
    fn an_operation_is_counted_by_store_operation_and_price_class() {
        let metrics = Metrics::new();
        metrics.call(&Call {
            store: &StoreName::S3,
            operation: Operation::Get,
            outcome: Outcome::Ok,
            sent_bytes: 0,
            received_bytes: 20_000,
            elapsed: Duration::from_millis(3),
        });
        metrics.request(
            "/v1/models",
            "GET",
            StatusCode::OK,
            Duration::from_millis(1),
        );
        let text = metrics.render(&Registry::default());
        for line in [
            r#"stockroom_storage_operations_total{store="s3",operation="get",class="b",outcome="ok"} 1"#,
            r#"stockroom_storage_bytes_total{store="s3",direction="received"} 20000"#,
            r#"stockroom_storage_operation_seconds_count{store="s3",operation="get"} 1"#,
            r#"stockroom_http_requests_total{route="/v1/models",method="GET",status="200"} 1"#,
        ] {
            assert!(
                text.lines().any(|have| have == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
