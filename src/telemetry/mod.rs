//! What operators of the bastion see: logs, health and metrics.

mod http;
mod metrics;

pub use http::serve;
pub use metrics::{LoginResult, Metrics, metrics};

use std::net::SocketAddr;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The `[telemetry]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
}

/// The `[log]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging to stderr. Fails on a filter that is none.
pub fn init_log(config: &LogConfig) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&config.filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat their cause.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error("failed to reach the cluster")]
        Silent(#[source] std::io::Error),
        #[error("failed to reach the cluster: {0}")]
        Telling(#[source] std::io::Error),
    }

    #[test]
    fn a_cause_is_in_the_log_once() {
        let cause = || std::io::Error::other("no route to host");
        for error in [Error::Silent(cause()), Error::Telling(cause())] {
            assert_eq!(chain(&error), "failed to reach the cluster: no route to host");
        }
    }
}
