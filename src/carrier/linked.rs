//! Two carriers that are linked within this process. For tests of what lies above.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Accepted, Carrier, Keepalive, Link, accept};

/// What a test may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Does `work` while the bastion's end is linked to the agent's, which `agents` chooses.
pub(crate) async fn while_linked<T>(
    bastions: &Carrier,
    agents: impl FnOnce(&Accepted) -> Carrier,
    work: impl Future<Output = T>,
) -> T {
    let (to_agent, from_bastion) = mpsc::channel::<Bytes>(2);
    let (to_bastion, from_agent) = mpsc::channel::<Bytes>(2);
    let serve = async {
        let mut source = from_bastion.map(Ok::<_, io::Error>);
        let accepted = accept(&mut source).await.expect("it is a bastion");
        let agents = agents(&accepted);
        agents.accepted(Link { source, sink: to_bastion }, accepted).await
    };
    let link = Link { source: from_agent.map(Ok::<_, io::Error>), sink: to_agent.sink_map_err(io::Error::other) };
    let keepalive = Keepalive { ping: LIMIT, patience: 3, grace: LIMIT };
    let linked = Notify::new();
    // A stream that is opened sooner would make it a carrier that the agent has forgotten.
    let work = async {
        linked.notified().await;
        work.await
    };
    tokio::select! {
        ended = serve => panic!("the link broke: {ended:?}"),
        ended = bastions.link(link, keepalive, |_| linked.notify_one()) => panic!("the link broke: {ended:?}"),
        done = timeout(LIMIT, work) => done.expect("the test has an end"),
    }
}
