mod farewell;
mod hostile;
mod memory;
mod silence;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, sink, stream};
use tokio::task::JoinHandle;

use super::frame::{Acknowledgement, Body, Frame, Hello, Pieces};
use super::*;

const KEEPALIVE: Keepalive = Keepalive { ping: Duration::from_secs(5), patience: 3, grace: Duration::ZERO };

struct Pair {
    bastion: Carrier,
    agent: Carrier,
    opened: Incoming,
}

impl Pair {
    fn new() -> Self {
        let (bastion, _) = Carrier::new(Side::Bastion, "one".into());
        let (agent, opened) = Carrier::new(Side::Agent, "one".into());
        Self { bastion, agent, opened }
    }

    /// Links both sides; aborted, the link breaks with whatever is under way in it.
    fn link(&self) -> JoinHandle<()> {
        let (bastion, agent) = (self.bastion.clone(), self.agent.clone());
        tokio::spawn(async move {
            let (to_agent, from_bastion) = mpsc::channel::<Bytes>(2);
            let (to_bastion, from_agent) = mpsc::channel::<Bytes>(2);
            let mut source = from_bastion.map(Ok::<_, Infallible>);
            let accept = async move {
                let accepted = accept(&mut source).await.unwrap();
                agent.accepted(Link { source, sink: to_bastion }, accepted).await
            };
            let link = Link { source: from_agent.map(Ok::<_, Infallible>), sink: to_agent };
            let _ = tokio::join!(bastion.link(link, KEEPALIVE, |_| {}), accept);
        })
    }
}

/// Sends back what comes, and an end after the end.
async fn echo(stream: Stream) {
    let Stream { sender, mut receiver } = stream;
    while let Some((message, _credit)) = receiver.receive().await {
        match message {
            Message::Data(data) => {
                let _ = sender.data(data).await;
            }
            other => {
                let _ = sender.send(other);
            }
        }
    }
}

async fn collect(receiver: &mut Receiver) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some((message, _credit)) = receiver.receive().await {
        match message {
            Message::Data(data) => all.extend_from_slice(&data),
            Message::Eof => break,
            _ => {}
        }
    }
    all
}

/// The terminals went first, and streams with lower numbers were taken for such as had come and gone.
#[tokio::test]
async fn whatever_was_opened_before_a_link_is_opened_by_it() {
    let pair = Pair::new();
    let mut streams: Vec<_> = (0..6).map(|_| pair.bastion.open(Bytes::from_static(b"x"))).collect();
    for stream in [&streams[1], &streams[4]] {
        stream.sender.mark_terminal();
    }
    let _link = pair.link();
    let mut opened = pair.opened;
    tokio::spawn(async move {
        while let Some((_, stream)) = opened.recv().await {
            tokio::spawn(echo(stream));
        }
    });
    for Stream { sender, receiver } in &mut streams {
        sender.send(Message::Eof).unwrap();
        assert!(receiver.receive().await.is_some(), "it was never opened");
    }
}

/// Regression: a hello that a slow node had kept ended what was begun by the link after it, which it did not know of.
#[tokio::test]
async fn a_link_that_comes_late_is_not_believed() {
    let pair = Pair::new();
    let said = |link| {
        let hello = Hello { version: VERSION, carrier: "one".into(), link, ..Hello::default() };
        let mut buffer = bytes::BytesMut::new();
        Frame { stream: 0, body: Body::Hello(hello) }.encode(&mut buffer);
        stream::iter([Ok::<_, Infallible>(buffer.freeze())])
    };
    for (link, is_late) in [(None, false), (Some(2), false), (Some(1), true), (Some(2), true), (Some(3), false)] {
        let mut source = said(link);
        let accepted = accept(&mut source).await.unwrap();
        let ended = pair.agent.accepted(Link { source, sink: sink::drain() }, accepted).await;
        assert_eq!(matches!(ended, Err(Error::Late)), is_late, "{link:?}: {ended:?}");
    }
}

#[tokio::test]
async fn bytes_survive_broken_links() {
    let Pair { bastion, agent, mut opened } = Pair::new();
    tokio::spawn(async move {
        while let Some((_, stream)) = opened.recv().await {
            tokio::spawn(echo(stream));
        }
    });
    let pair = Pair { bastion, agent, opened: tokio::sync::mpsc::unbounded_channel().1 };
    let sent: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let Stream { sender, mut receiver } = pair.bastion.open(Bytes::from_static(b"echo"));
    let bytes = Bytes::from(sent.clone());
    let send = tokio::spawn(async move {
        sender.data(bytes).await.unwrap();
        sender.send(Message::Eof).unwrap();
    });
    let breaking = async {
        for yields in 0.. {
            let link = pair.link();
            for _ in 0..yields * 7 {
                tokio::task::yield_now().await;
            }
            link.abort();
        }
    };
    let received = tokio::select! {
        received = collect(&mut receiver) => received,
        () = breaking => unreachable!("it never ends"),
    };
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    send.await.unwrap();
    drop(receiver);
    let _link = pair.link();
    while pair.bastion.streams() + pair.agent.streams() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_stalled_stream_delays_no_other() {
    let mut pair = Pair::new();
    let _link = pair.link();
    let stalled = pair.bastion.open(Bytes::from_static(b"stalled"));
    let (_, never_read) = pair.opened.recv().await.unwrap();
    let flood = tokio::spawn(async move { stalled.sender.data(vec![0; 10 << 20].into()).await });
    let Stream { sender, mut receiver } = pair.bastion.open(Bytes::from_static(b"echo"));
    let (request, stream) = pair.opened.recv().await.unwrap();
    assert_eq!(request, "echo");
    tokio::spawn(echo(stream));
    sender.data(Bytes::from_static(b"hello")).await.unwrap();
    sender.send(Message::Eof).unwrap();
    assert_eq!(collect(&mut receiver).await, b"hello");
    assert!(!flood.is_finished());
    drop(never_read); // The end of a stream ends who waits for its window.
    assert!(flood.await.unwrap().is_err());
}

#[tokio::test]
async fn another_process_than_before_is_told_from_it() {
    let pair = Pair::new();
    let link = pair.link();
    let mut stream = pair.bastion.open(Bytes::from_static(b"x"));
    while pair.agent.streams() == 0 {
        tokio::task::yield_now().await;
    }
    stream.sender.data(Bytes::from_static(b"y")).await.unwrap();
    link.abort();
    let other = Pair { agent: Carrier::new(Side::Agent, "another".into()).0, ..pair };
    other.link().await.unwrap();
    other.bastion.close();
    assert!(stream.receiver.receive().await.is_none());
}

fn receive(carrier: &Carrier, stream: u32, body: Body) -> Result<(), Error> {
    carrier.0.state().receive(&carrier.0, Frame { stream, body }).map(|_| ())
}

/// Regression: the answers to a side that asked and never read filled the memory.
#[test]
fn who_asks_without_reading_is_answered_once() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    for _ in 0..1000 {
        receive(&carrier, 0, Body::Ping).unwrap();
        receive(&carrier, 7, Body::Message(Message::Eof)).unwrap();
    }
    let mut written = bytes::BytesMut::new();
    carrier.0.state().write(&mut written, 1);
    assert!(written.len() < 100, "{}", written.len());
    let mut late = (0..1 << 20).map(|id| receive(&carrier, id, Body::Message(Message::Eof)));
    assert!(late.any(|refused| matches!(refused, Err(Error::Protocol(_)))));
}

/// Regression: a stream filled the memory for whoever did not read, by what no window holds up.
#[tokio::test]
async fn a_stream_floods_nobody_with_control_messages() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let (flooded, mut neighbour) = (carrier.open(Bytes::from_static(b"x")), carrier.open(Bytes::from_static(b"y")));
    let control = Message::Control(vec![b'c'; MAX_PAYLOAD].into());
    for _ in 0..100 {
        receive(&carrier, 1, Body::Message(control.clone())).unwrap();
        carrier.0.state().assert_bounded();
    }
    let Stream { sender, mut receiver } = flooded;
    let mut came = 0;
    while receiver.receive().await.is_some() {
        came += 1;
    }
    assert_eq!(came, queue::MAX_WEIGHTLESS_BYTES / MAX_PAYLOAD);
    assert!(sender.data(Bytes::from_static(b"data")).await.is_err());
    receive(&carrier, 3, Body::Message(control)).unwrap();
    assert!(neighbour.receiver.receive().await.is_some());
}

/// Whoever sent signals to a pod that stood still filled the memory until it was given up.
#[tokio::test]
async fn orders_that_nobody_takes_end_their_stream() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let Stream { sender, mut receiver } = carrier.open(Bytes::from_static(b"x"));
    let sent = (0..).take_while(|_| sender.send(Message::control(&"TERM")).is_ok()).take(1 << 20).count();
    assert_eq!(sent, queue::MAX_WEIGHTLESS - 1); // The request is one.
    carrier.0.state().assert_bounded();
    assert!(receiver.receive().await.is_none());
}

/// Each byte of the window was a message of its own, here and on its way.
#[tokio::test]
async fn single_bytes_that_wait_are_joined() {
    let mut pair = Pair::new();
    let Stream { sender, .. } = pair.bastion.open(Bytes::from_static(b"x"));
    let sent: Vec<u8> = (0..200_000).map(|at: usize| (at % 251) as u8).collect();
    for byte in Bytes::from(sent.clone()).chunks(1) {
        sender.data(Bytes::copy_from_slice(byte)).await.unwrap();
    }
    let queued: usize = pair.bastion.0.state().streams.values().map(|entry| entry.outgoing.len()).sum();
    assert!(queued < 100, "{queued}");
    let _link = pair.link();
    let (_, mut agents) = pair.opened.recv().await.unwrap();
    sender.send(Message::Eof).unwrap();
    assert!(collect(&mut agents.receiver).await == sent);
}

/// What was written and not acknowledged was kept, each byte in its message.
#[tokio::test]
async fn who_acknowledges_nothing_is_written_to_no_more_until_it_does() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let Stream { sender, .. } = carrier.open(Bytes::from_static(b"x"));
    for _ in 0..20_000 {
        sender.data(Bytes::from_static(b"d")).await.unwrap();
        carrier.0.state().write(&mut bytes::BytesMut::new(), usize::MAX);
    }
    let queued = || carrier.0.state().streams[&1].outgoing.len();
    assert!((8_000..9_000).contains(&queued()), "{}", queued());
    receive(&carrier, 1, Body::Acknowledge(Acknowledgement { messages: 1, bytes: 0 })).unwrap();
    let mut written = bytes::BytesMut::new();
    carrier.0.state().write(&mut written, usize::MAX);
    let mut pieces = Pieces::default();
    pieces.add(written.freeze());
    let joined = pieces.next().unwrap().unwrap();
    assert!(matches!(joined.body, Body::Message(Message::Data(data)) if data.len() > 10_000));
}

/// One was left in the pod for each carrier, with its maps.
#[tokio::test]
async fn a_closed_carrier_takes_nothing_in_and_keeps_nothing() {
    let mut pair = Pair::new();
    let _link = pair.link();
    let streams: Vec<_> = (0..100).map(|_| pair.bastion.open(Bytes::from_static(b"x"))).collect();
    for _ in &streams {
        assert!(pair.opened.recv().await.is_some());
    }
    pair.agent.close();
    assert!(pair.opened.recv().await.is_none());
    assert_eq!(pair.agent.0.state().streams.capacity(), 0);
}

/// Regression: a side told of bytes that it took and never of messages, which are kept until it does.
#[tokio::test]
async fn bytes_make_room_only_once_their_message_has_arrived() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let stream = carrier.open(Bytes::from_static(b"x"));
    stream.sender.data(Bytes::from_static(b"data")).await.unwrap();
    let tell = |messages, bytes| receive(&carrier, 1, Body::Acknowledge(Acknowledgement { messages, bytes }));
    for (messages, bytes) in [(0, 4), (1, 4), (2, 5), (3, 4)] {
        assert!(matches!(tell(messages, bytes), Err(Error::Protocol(_))), "{messages} {bytes}");
    }
    for (messages, bytes) in [(1, 0), (2, 3), (2, 4)] {
        tell(messages, bytes).unwrap();
    }
}

/// The other side ended the link for it, and each link after that: the stream's neighbours went with it.
#[tokio::test]
async fn a_message_too_long_ends_its_stream_and_no_other() {
    let mut pair = Pair::new();
    let link = pair.link();
    let mut refused = pair.bastion.open(vec![b'x'; MAX_PAYLOAD + 1].into());
    assert!(refused.receiver.receive().await.is_none());
    let mut longest = pair.bastion.open(vec![b'x'; MAX_PAYLOAD].into());
    let (request, agents) = pair.opened.recv().await.unwrap();
    assert_eq!(request.len(), MAX_PAYLOAD);
    assert!(longest.sender.send(Message::Control(vec![b'x'; MAX_PAYLOAD + 1].into())).is_err());
    assert!(longest.receiver.receive().await.is_none());
    drop((refused, longest, agents));
    while pair.bastion.streams() + pair.agent.streams() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!link.is_finished());
}

/// Regression: a carrier was closed between somebody's look for it and her stream.
#[tokio::test]
async fn a_carrier_that_somebody_uses_or_is_about_to_is_not_closed_as_unused() {
    let mut pair = Pair::new();
    let _link = pair.link();
    let hold = pair.bastion.hold().unwrap();
    assert!(!pair.bastion.close_if_unused());
    let mut stream = pair.bastion.open(Bytes::from_static(b"x"));
    drop(hold);
    assert!(!pair.bastion.close_if_unused());
    let (_, agents) = pair.opened.recv().await.unwrap();
    agents.sender.data(Bytes::from_static(b"data")).await.unwrap();
    assert!(stream.receiver.receive().await.is_some());
    drop((stream, agents));
    while !pair.bastion.is_unused() {
        tokio::task::yield_now().await;
    }
    assert!(pair.bastion.close_if_unused() && pair.bastion.hold().is_none());
    assert!(pair.bastion.open(Bytes::from_static(b"y")).receiver.receive().await.is_none());
}

/// A process that ended with its streams' ends unwritten left their programs running for the grace.
#[tokio::test]
async fn it_is_settled_once_the_other_side_has_heard_of_all_ends() {
    let mut pair = Pair::new();
    let stream = pair.bastion.open(Bytes::from_static(b"x"));
    let link = pair.link();
    let (_, mut agents) = pair.opened.recv().await.unwrap();
    assert!(pair.bastion.settled().now_or_never().is_none(), "a stream is open");
    link.abort();
    let _ = link.await;
    drop(stream);
    assert!(pair.bastion.settled().now_or_never().is_none(), "nobody could tell");
    let _link = pair.link();
    pair.bastion.settled().await;
    assert!(agents.receiver.receive().await.is_none());
}

/// The bytes that may be sent on the only stream.
fn window(carrier: &Carrier) -> usize {
    carrier.0.state().streams.values().map(|entry| entry.window.available_permits()).sum()
}

#[tokio::test]
async fn a_side_sends_as_much_as_the_other_says_that_it_takes() {
    let mut pair = Pair::new();
    let _stream = pair.bastion.open(Bytes::from_static(b"x"));
    assert_eq!(window(&pair.bastion), 1 << 20);
    let _link = pair.link();
    let _opened = pair.opened.recv().await.unwrap();
    assert_eq!((window(&pair.bastion), window(&pair.agent)), (2 << 20, 1 << 20));
}

/// Whoever types waits behind what is under way of others.
#[tokio::test]
async fn a_copy_leaves_half_its_window_unused_while_somebody_types() {
    let (bastion, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let copy = bastion.open(Bytes::from_static(b"copy"));
    let terminal = bastion.open(Bytes::from_static(b"terminal"));
    terminal.sender.mark_terminal();
    let half = Bytes::from_static(&[0; 1 << 19]);
    copy.sender.data(half.clone()).await.unwrap();
    assert!(copy.sender.data(half.slice(..1)).now_or_never().is_none(), "more was sent");
    terminal.sender.data(half.clone()).await.unwrap();
    terminal.sender.data(half.clone()).await.unwrap();
    bastion.0.state().forget(3); // The terminal's.
    copy.sender.data(half).now_or_never().expect("nobody types any more").unwrap();
}

/// Regression: the other side was never told that there was room again, and a program that echoes read no more either.
#[tokio::test]
async fn a_reader_that_leaves_takes_no_room_with_it() {
    let mut pair = Pair::new();
    let _link = pair.link();
    let Stream { sender: _sender, receiver } = pair.bastion.open(Bytes::from_static(b"x"));
    let (_, agents) = pair.opened.recv().await.unwrap();
    agents.sender.data(vec![0; 1 << 20].into()).await.unwrap();
    while pair.bastion.0.state().streams[&1].unread() < 1 << 20 {
        tokio::task::yield_now().await;
    }
    drop(receiver);
    let sent = agents.sender.data(vec![0; 4 << 20].into());
    tokio::time::timeout(Duration::from_secs(60), sent).await.expect("there is no room").unwrap();
}

/// The agent of a pod that was made before agents told.
#[tokio::test]
async fn a_side_that_does_not_say_what_it_takes_gets_what_it_always_got() {
    let (bastion, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let _stream = bastion.open(Bytes::from_static(b"x"));
    bastion.0.state().agree(None);
    assert_eq!(window(&bastion), 1 << 20);
}
