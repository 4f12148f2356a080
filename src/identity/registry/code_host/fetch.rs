//! One question to a code host: which keys does this account have?

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use russh::keys::PublicKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::time::timeout;

/// For the whole of a question and its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 256 * 1024;
/// Of one account.
const MAX_KEYS: usize = 256;

/// `https://HOST` or `https://HOST/PATH`; `http` only on this machine, for nothing else vouches for the answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct BaseUrl(String);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("identity.code_hosts: refresh is under 1s, or keep is shorter than it")]
    Ages,
    #[error("failed to read the certificate authorities in {}", path.display())]
    Authorities { path: PathBuf, source: pem::Error },
    #[error("failed to set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("not a URL that can be asked")]
    Url(#[from] http::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("failed to ask")]
    Request(#[from] legacy::Error),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is longer than {} KiB", MAX_ANSWER / 1024)]
    TooLong,
    #[error("the answer holds no key")]
    NoKeys,
}

impl Error {
    /// Whether other accounts will fare no better.
    pub(super) fn is_of_host(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.is_server_error() || matches!(*status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::NoKeys | Self::TooLong | Self::Url(_) => false,
            _ => true,
        }
    }
}

pub(super) struct Host {
    base: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Host {
    pub(super) fn new(base: &BaseUrl, ca_file: Option<&Path>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| Error::Tls(error.into()))?;
        let tls = match ca_file {
            Some(path) => tls.with_root_certificates(authorities(path)?),
            None if base.0.starts_with("http:") => tls.with_root_certificates(RootCertStore::empty()),
            None => tls.with_native_roots().map_err(|error| Error::Tls(error.into()))?,
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http().enable_http1();
        Ok(Self { base: base.0.clone(), client: Client::builder(TokioExecutor::new()).build(connector.build()) })
    }

    /// The public keys of `account`, without comments; none if there is no such account.
    pub(super) async fn keys(&self, account: &str) -> Result<Vec<String>, Error> {
        timeout(TIMEOUT, self.ask(account)).await.map_err(|_| Error::Timeout)?
    }

    async fn ask(&self, account: &str) -> Result<Vec<String>, Error> {
        let agent = concat!("bastion/", env!("CARGO_PKG_VERSION"));
        let request = Request::get(format!("{}/{account}.keys", self.base)).header(header::USER_AGENT, agent);
        let answer = self.client.request(request.body(Empty::new())?).await?;
        // Nothing is followed: an account's old name may be somebody else's tomorrow.
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Vec::new()),
            StatusCode::FOUND if leads_to_sign_in(answer.headers()) => return Ok(Vec::new()),
            status => return Err(Error::Status(status)),
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Error::TooLong,
            false => Error::Broken(error),
        })?;
        keys(&String::from_utf8_lossy(&body.to_bytes()))
    }
}

/// What GitLab says of accounts that do not exist or are not for everybody to see.
fn leads_to_sign_in(headers: &http::HeaderMap) -> bool {
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    location
        .is_some_and(|location| location.split(['?', '#']).next().is_some_and(|url| url.ends_with("/users/sign_in")))
}

/// The lines that are a key and nothing else. A page without any is not what was asked for, and takes no key away.
fn keys(text: &str) -> Result<Vec<String>, Error> {
    let plain = |line: &str| {
        let key = PublicKey::from_openssh(line).ok().filter(|key| !key.key_data().is_certificate())?;
        PublicKey::from(key.key_data().clone()).to_openssh().ok()
    };
    let keys: Vec<String> = text.lines().map(str::trim).filter_map(plain).take(MAX_KEYS).collect();
    if keys.is_empty() && !text.trim().is_empty() { Err(Error::NoKeys) } else { Ok(keys) }
}

fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let failed = |source| Error::Authorities { path: path.into(), source };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        store.add(certificate.map_err(failed)?).map_err(|error| Error::Tls(error.into()))?;
    }
    if store.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(store) }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is not a valid URL: {error}"))?;
        let host = uri.host().unwrap_or_default();
        let here =
            host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) || host == "localhost";
        let bare = uri.query().is_none() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        match uri.scheme() {
            _ if !bare || url.contains('#') => Err(format!("{url:?} is more than a host and a path")),
            Some(scheme) if *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP && here => {
                Ok(Self(url.trim_end_matches('/').to_owned()))
            }
            _ => Err(format!("{url:?} does not begin with https://")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn only_bare_keys_are_taken() {
        let text =
            format!("{KEY} Alice (gitlab.example.org)\r\ncommand=\"id\" {KEY}\ncert-authority {KEY}\nssh-dss AAAA\n");
        assert_eq!(keys(&text).unwrap(), [KEY]);
        assert!(keys("\n").unwrap().is_empty());
        for page in ["<html>come back later</html>", &format!("cert-authority {KEY}")] {
            assert!(matches!(keys(page), Err(Error::NoKeys)), "{page}");
        }
    }

    #[test]
    fn keys_come_from_whom_something_vouches_for() {
        let url = |url: &str| BaseUrl::try_from(url.to_owned());
        assert_eq!(url("https://example.org/gitlab/").unwrap().0, "https://example.org/gitlab");
        for good in ["https://github.com", "http://127.0.0.1:80", "http://[::1]:80", "http://localhost:80"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in
            ["http://github.com", "github.com", "ftp://a", "https://a/?b", "https://a/#b", "https://u:p@a/", "", "/x"]
        {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
