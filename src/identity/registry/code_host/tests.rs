//! Accounts, against a code host on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::accounts::Accounts;
use super::fetch::Host;
use super::{BaseUrl, CodeHostsConfig, Error, is_account};

const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIE5dw6ofRdfVqNUZsNMfsvLjYqRtO43ol32D1uPybOU";

/// What it answers to each account, and how often it was asked; `slow` gets its answer when it is let go.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<(ByFile, usize)>>, Arc<Notify>);

type ByFile = HashMap<String, (StatusCode, String)>;

impl Answers {
    fn set(&self, account: &str, status: StatusCode, body: impl Into<String>) {
        self.0.lock().unwrap().0.insert(format!("{account}.keys"), (status, body.into()));
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }

    async fn answer(State(answers): State<Self>, Path(file): Path<String>) -> Response {
        let reply = {
            let mut answers = answers.0.lock().unwrap();
            answers.1 += 1;
            answers.0.get(&file).cloned()
        };
        match file.as_str() {
            "slow.keys" => answers.1.notified().await,
            _ => sleep(Duration::from_millis(20)).await,
        }
        match reply {
            Some((status, location)) if status.is_redirection() => (status, [(LOCATION, location)]).into_response(),
            Some(reply) => reply.into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

async fn serve() -> (SocketAddr, Answers, AbortOnDropHandle<()>) {
    serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
}

fn serve_on(listener: TcpListener) -> (SocketAddr, Answers, AbortOnDropHandle<()>) {
    let answers = Answers::default();
    let (address, router) = (
        listener.local_addr().unwrap(),
        Router::new().route("/{file}", get(Answers::answer)).with_state(answers.clone()),
    );
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, answers, AbortOnDropHandle::new(serving))
}

fn accounts(address: SocketAddr, refresh: Duration, keep: Duration) -> Accounts {
    let url = BaseUrl::try_from(format!("http://{address}")).unwrap();
    Accounts::new("test".to_owned(), Host::new(&url, None).unwrap(), &CodeHostsConfig { refresh, keep })
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn keys_are_asked_for_once_by_many_logins() {
    let (address, answers, _serving) = serve().await;
    answers.set("octocat", StatusCode::OK, format!("{ONE}\n"));
    let accounts = accounts(address, HOUR, HOUR);
    assert!(accounts.keys("octocat").is_empty());
    let logins = (0..20).map(|_| accounts.learn("octocat".to_owned()));
    assert!(futures::future::join_all(logins).await.iter().all(|learned| *learned));
    assert_eq!(accounts.keys("octocat"), [ONE]);
    // An unknown key has it asked for again, but not at once.
    assert!(!accounts.learn("octocat".to_owned()).await);
    assert_eq!(answers.asked(), 1);
}

#[tokio::test]
async fn no_such_account_has_no_keys() {
    let (address, answers, _serving) = serve().await;
    answers.set("gone", StatusCode::FOUND, format!("http://{address}/users/sign_in?back=x"));
    let accounts = accounts(address, HOUR, HOUR);
    for account in ["nobody", "gone"] {
        assert!(accounts.learn(account.to_owned()).await, "{account}");
        assert!(accounts.keys(account).is_empty(), "{account}");
        assert!(!accounts.learn(account.to_owned()).await, "asked again for {account}");
    }
}

#[tokio::test]
async fn what_changes_at_the_host_is_seen_without_a_login() {
    let (address, answers, _serving) = serve().await;
    answers.set("octocat", StatusCode::OK, ONE);
    let accounts = accounts(address, Duration::from_millis(100), HOUR);
    accounts.learn("octocat".to_owned()).await;
    answers.set("octocat", StatusCode::OK, format!("{ONE}\n{OTHER}\n"));
    eventually("a key was added", || accounts.keys("octocat") == [ONE, OTHER]).await;
    answers.set("octocat", StatusCode::NOT_FOUND, "");
    eventually("the account is gone", || accounts.keys("octocat").is_empty()).await;
}

#[tokio::test]
async fn keys_hold_on_while_the_host_fails_but_not_for_ever() {
    let failures = [
        (StatusCode::BAD_GATEWAY, ""),
        (StatusCode::TOO_MANY_REQUESTS, ""),
        (StatusCode::MOVED_PERMANENTLY, "https://elsewhere.example.org/"),
        (StatusCode::OK, "<html>back soon</html>"),
        (StatusCode::OK, &"#".repeat(300 * 1024)),
    ];
    futures::future::join_all(failures.map(|(status, body)| hold_on_for_a_while(status, body))).await;
}

async fn hold_on_for_a_while(status: StatusCode, body: &str) {
    let (address, answers, _serving) = serve().await;
    answers.set("octocat", StatusCode::OK, ONE);
    let accounts = accounts(address, Duration::from_millis(100), Duration::from_secs(10));
    accounts.learn("octocat".to_owned()).await;
    answers.set("octocat", status, body);
    let asked = answers.asked();
    eventually("it is asked again", || answers.asked() > asked).await;
    // Whoever asks meanwhile waits for the same answer.
    accounts.learn("octocat".to_owned()).await;
    assert_eq!(accounts.keys("octocat"), [ONE], "{status}");
    let asked = answers.asked();
    assert!(!accounts.learn("octocat".to_owned()).await, "a login asks a host that just failed");
    assert_eq!(answers.asked(), asked, "{status}");
    eventually("they are too old", || accounts.keys("octocat").is_empty()).await;
}

#[tokio::test]
async fn a_host_that_is_away_keeps_no_login_waiting() {
    // Bound, it refuses; nobody else gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let accounts = accounts(socket.local_addr().unwrap(), HOUR, HOUR);
    accounts.learn("octocat".to_owned()).await;
    let (_, answers, _serving) = serve_on(socket.listen(16).unwrap());
    answers.set("hubot", StatusCode::OK, ONE);
    assert!(!accounts.learn("hubot".to_owned()).await, "asked again although it just failed");
    assert_eq!((answers.asked(), accounts.keys("hubot").len()), (0, 0));
}

#[tokio::test]
async fn a_slow_host_keeps_a_login_waiting_for_a_moment_only() {
    let (address, answers, _serving) = serve().await;
    answers.set("slow", StatusCode::OK, ONE);
    let accounts = accounts(address, HOUR, HOUR);
    assert!(!accounts.learn("slow".to_owned()).await);
    answers.1.notify_one();
    eventually("it comes all the same", || accounts.keys("slow") == [ONE]).await;
    assert_eq!(answers.asked(), 1);
}

#[tokio::test]
async fn the_hosts_certificate_is_checked() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            // One that does not like the certificate goes away.
            let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 2 {
                line.clear();
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{ONE}", ONE.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    }));
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), certified.cert.pem()).unwrap();
    let url = |host: &str| BaseUrl::try_from(format!("https://{host}:{port}")).unwrap();
    let trusting = Host::new(&url("localhost"), Some(ca.path())).unwrap();
    assert_eq!(trusting.keys("octocat").await.unwrap(), [ONE]);
    let by_another_name = Host::new(&url("127.0.0.1"), Some(ca.path())).unwrap();
    assert!(matches!(by_another_name.keys("octocat").await, Err(Error::Request(_))));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(ca.path(), other.cert.pem()).unwrap();
    let distrusting = Host::new(&url("localhost"), Some(ca.path())).unwrap();
    assert!(matches!(distrusting.keys("octocat").await, Err(Error::Request(_))));
    std::fs::write(ca.path(), "no certificate").unwrap();
    assert!(matches!(Host::new(&url("localhost"), Some(ca.path())), Err(Error::Authorities { .. })));
}

#[test]
fn an_account_stays_within_its_place_in_the_url() {
    assert!(is_account("Octo-Cat_7.x"));
    for bad in ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "ä", &"a".repeat(256)] {
        assert!(!is_account(bad), "{bad}");
    }
}
