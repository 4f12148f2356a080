//! Prometheus metrics of the process.

use std::fmt::{Error, Write as _};
use std::sync::LazyLock;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The process's metrics.
pub struct Metrics {
    registry: Registry,
    pub connections: Counter,
    pub open_connections: Gauge,
    logins: Family<LoginLabels, Counter>,
    /// From accept to a good key, in seconds.
    pub login_duration: Histogram,
    pub sessions: Counter,
    pub open_sessions: Gauge,
    /// From a session's request to its program's first output, in seconds.
    pub first_output: Histogram,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

/// How a try to log in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginResult {
    Accepted,
    Refused,
    TimedOut,
    Throttled,
}

impl EncodeLabelValue for LoginResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        encoder.write_str(match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Throttled => "throttled",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    result: LoginResult,
}

/// The one instance.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 14)); // 5 ms … 41 s
        let metrics = Self {
            registry: Registry::default(),
            connections: Counter::default(),
            open_connections: Gauge::default(),
            logins: Family::default(),
            login_duration: seconds(),
            sessions: Counter::default(),
            open_sessions: Gauge::default(),
            first_output: seconds(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        };
        let mut registry = Registry::with_prefix("bastion");
        registry.register("connections", "SSH connections accepted", metrics.connections.clone());
        registry.register("open_connections", "SSH connections open now", metrics.open_connections.clone());
        registry.register("logins", "Tries to log in, by how they ended", metrics.logins.clone());
        let help = "From the accepted connection to the accepted key";
        registry.register_with_unit("login_duration", help, Unit::Seconds, metrics.login_duration.clone());
        registry.register("sessions", "Session channels that asked to run something", metrics.sessions.clone());
        registry.register("open_sessions", "Sessions open now", metrics.open_sessions.clone());
        let help = "From a session's request to the first output of its program";
        registry.register_with_unit("first_output", help, Unit::Seconds, metrics.first_output.clone());
        registry.register_with_unit("received", "Input of programs", Unit::Bytes, metrics.bytes_in.clone());
        registry.register_with_unit("sent", "Output of programs", Unit::Bytes, metrics.bytes_out.clone());
        Self { registry, ..metrics }
    }

    /// Counts a try to log in.
    pub fn login(&self, result: LoginResult) {
        self.logins.get_or_create(&LoginLabels { result }).inc();
    }

    /// All of them in OpenMetrics' text format.
    pub(super) fn encode(&self) -> Result<String, Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
