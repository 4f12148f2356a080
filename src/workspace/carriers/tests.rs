use std::sync::atomic::{AtomicUsize, Ordering};

use futures::channel::mpsc;
use futures::{FutureExt, SinkExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::carrier;

const LONG: Duration = Duration::from_secs(60);

fn carriers() -> Carriers {
    let away = tower::service_fn(async |_: http::Request<kube::client::Body>| {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no cluster here"))
    });
    let grace = Duration::from_secs(60);
    let client = kube::Client::new(away, "default");
    let cache = Cache::start(&client, &CancellationToken::new());
    Carriers {
        reports: activity::Reports::paced(client.clone(), cache.clone(), grace, grace),
        client,
        keepalive: Keepalive { ping: grace, patience: 3, grace },
        budget: Arc::default(),
        answered: grace,
        linger: Duration::ZERO,
        plans: Plans::start(cache),
        of_pods: Arc::default(),
    }
}

fn workspace() -> Workspace {
    let [namespace, devserver, pod, account] = ["dev-alice", "dev", "dev", "alice"].map(str::to_owned);
    let service_account = Some(account);
    Workspace { namespace, devserver, pod, pod_uid: None, service_account, on_behalf_of: None, agent: true }
}

fn agent(carrier: Carrier, incoming: carrier::Incoming) -> Agent {
    Agent { carrier, broken_since: watch::channel(None).1, listeners: Listeners::serve(incoming) }
}

/// Its keeper has closed it and not yet forgotten it.
#[tokio::test]
async fn a_carrier_that_is_closed_is_not_handed_out() {
    let (carriers, workspace) = (carriers(), workspace());
    let (carrier, incoming) = Carrier::new(Side::Bastion, "one".into());
    let cell = Cell::from(agent(carrier.clone(), incoming));
    carriers.of_pods.insert(workspace.clone(), Arc::new(cell));
    let held = carriers.of(&workspace).await.unwrap();
    assert!(held.carrier.name() == "one" && !carrier.close_if_unused());
    drop(held);
    assert!(carrier.close_if_unused());
    assert!(matches!(carriers.of(&workspace).await, Err(Error::Api(_))));
    assert!(carriers.of_pods.is_empty());
}

/// Every other look at a pod failed: its agent was told of a stream that it had never heard of.
#[tokio::test]
async fn a_stream_is_opened_only_once_there_is_a_link() {
    let keepalive = Keepalive { ping: Duration::from_secs(60), patience: 3, grace: Duration::ZERO };
    for _ in 0..20 {
        let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
        let (agent, mut opened) = Carrier::new(Side::Agent, "one".into());
        let (to_agent, from_bastion) = mpsc::channel::<Bytes>(2);
        let (to_bastion, from_agent) = mpsc::channel::<Bytes>(2);
        let serve = async {
            let mut source = from_bastion.map(Ok::<_, std::convert::Infallible>);
            let accepted = carrier::accept(&mut source).await.unwrap();
            assert!(accepted.is_new());
            let _ = agent.accepted(Link { source, sink: to_bastion }, accepted).await;
        };
        let link = Link { source: from_agent.map(Ok::<_, Error>), sink: to_agent.sink_map_err(io::Error::other) };
        let ask = async {
            let mut stream = carrier.open(Bytes::from_static(b"x"));
            stream.receiver.receive().await.ok_or(Error::NoAgent)
        };
        let answer = async {
            let (request, stream) = opened.recv().await.unwrap();
            stream.sender.data(request).await.unwrap();
            stream
        };
        let asked = async { tokio::join!(once_linked(&carrier, link, keepalive, ask), answer) };
        tokio::select! {
            (answered, _) = asked => assert!(answered.is_ok()),
            () = serve => panic!("the link broke"),
        }
    }
}

/// Her pod was not looked at any more: somebody was in, as it seemed, who would tell how it is used.
#[tokio::test]
async fn whoever_leaves_while_a_carrier_is_opened_leaves_no_trace() {
    let carriers = Carriers { client: silent(), answered: LONG, ..carriers() };
    let workspace = workspace();
    let [mut first, mut second] = [(); 2].map(|()| Box::pin(carriers.of(&workspace)));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    drop(first);
    assert_eq!(carriers.of_pods.len(), 1, "the second waits");
    assert!((&mut second).now_or_never().is_none());
    drop(second);
    assert!(carriers.of_pods.is_empty());
}

/// Regression: a carrier was opened for nobody, and kept for the linger.
#[tokio::test]
async fn a_carrier_that_nobody_waits_for_is_not_opened() {
    let carriers = Carriers { client: silent(), answered: LONG, ..carriers() };
    let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
    let keeper = Keeper { carriers, workspace: workspace(), carrier: carrier.clone(), broken: watch::channel(None).0 };
    let (first, nobody) = oneshot::channel();
    drop(nobody);
    timeout(LONG / 2, keeper.run(first)).await.expect("it is given up");
    assert!(carrier.is_closed());
}

fn silent() -> kube::Client {
    let never = async |_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>().await
    };
    kube::Client::new(tower::service_fn(never), "default")
}

/// The balancer before the API server is gone, say, and no packet comes back: nobody was told for a quarter of an hour.
#[tokio::test]
async fn an_exec_that_is_never_answered_is_given_up() {
    let soon = Duration::from_millis(20);
    let carriers = Carriers { client: silent(), answered: soon, ..carriers() };
    let opened = timeout(LONG, carriers.of(&workspace())).await.expect("it is given up");
    assert!(matches!(opened, Err(error) if error.is_outage()));

    let keepalive = Keepalive { grace: soon, ..carriers.keepalive };
    let carriers = Carriers { answered: LONG, keepalive, ..carriers };
    let (carrier, _) = Carrier::new(Side::Bastion, "one".into());
    let broken = watch::channel(Some(Instant::now())).0;
    let keeper = Keeper { carriers, workspace: workspace(), carrier, broken };
    let linked = timeout(LONG / 2, keeper.link(&mut None)).await.expect("the agent has ended its programs");
    assert!(matches!(linked, (None, Error::Lost(_))));
}

/// Each of fifty logins to a silent node asked it anew once the one before had waited in vain: the last for a quarter
/// of an hour.
#[tokio::test]
async fn whoever_waits_for_a_carrier_that_cannot_be_opened_hears_of_it_at_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let never = async |_: http::Request<kube::client::Body>| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>().await
    };
    let client = kube::Client::new(tower::service_fn(never), "default");
    let carriers = Carriers { client, answered: Duration::from_millis(20), ..carriers() };
    let workspace = workspace();
    let logins = join_all((0..5).map(|_| carriers.of(&workspace)));
    for opened in timeout(LONG, logins).await.expect("all are told") {
        assert!(matches!(opened, Err(error) if error.is_outage()));
    }
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    assert!(matches!(carriers.of(&workspace).await, Err(error) if error.is_outage()));
    assert_eq!(ASKED.load(Ordering::Relaxed), 2, "who comes later asks again");
    assert!(carriers.of_pods.is_empty());
}

/// Its node is silent, say: the carrier is not yet known to be broken, and a new pod has the name.
#[tokio::test]
async fn a_pod_made_anew_is_not_entered_by_the_carrier_of_the_one_before() {
    let (carriers, before) = (carriers(), workspace());
    let (carrier, incoming) = Carrier::new(Side::Bastion, "one".into());
    let cell = Cell::from(agent(carrier.clone(), incoming));
    carriers.of_pods.insert(before.clone(), Arc::new(cell));
    let after = Workspace { pod_uid: Some("another".to_owned()), ..before.clone() };
    assert!(matches!(carriers.of(&after).await, Err(Error::Api(_))));
    assert_eq!(carriers.of(&before).await.unwrap().carrier.name(), "one");
}
