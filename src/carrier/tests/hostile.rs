use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use tokio::task::yield_now;

use super::*;

fn frames(written: BytesMut) -> Vec<Frame> {
    let mut pieces = Pieces::default();
    pieces.add(written.freeze());
    std::iter::from_fn(|| pieces.next().unwrap()).collect()
}

/// Each ping looked at all streams: those of one piece kept a thread for minutes, and one pod the whole process.
#[test]
fn however_often_it_is_asked_a_side_looks_at_its_streams_once_a_batch() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let mut streams: Vec<_> = (0..100).map(|_| carrier.open(Bytes::from_static(b"x"))).collect();
    carrier.0.state().write(&mut BytesMut::new(), usize::MAX);
    for number in 0..100 {
        receive(&carrier, 2 * number + 1, Body::Message(Message::Data(vec![0; 10].into()))).unwrap();
    }
    for stream in &mut streams {
        assert!(stream.receiver.receive().now_or_never().unwrap().is_some());
    }
    for _ in 0..1000 {
        receive(&carrier, 0, Body::Ping).unwrap();
        let looked_at = carrier.0.state().streams.values().filter(|entry| entry.is_ready).count();
        assert_eq!(looked_at, 0);
    }
    let mut written = BytesMut::new();
    carrier.0.state().write(&mut written, usize::MAX);
    let told = frames(written)
        .into_iter()
        .filter(|frame| frame.body == Body::Acknowledge(Acknowledgement { messages: 1, bytes: 10 }));
    assert_eq!(told.count(), 100);
}

/// All frames of a piece were taken before anybody else had her turn.
#[tokio::test]
async fn a_piece_of_many_frames_leaves_others_their_turns() {
    let mut wire = BytesMut::new();
    for _ in 0..100_000 {
        Frame { stream: 0, body: Body::Ping }.encode(&mut wire);
    }
    let mut hello = BytesMut::new();
    let said = Hello { version: VERSION, carrier: "one".into(), ..Hello::default() };
    Frame { stream: 0, body: Body::Hello(said) }.encode(&mut hello);
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let turns = Arc::new(AtomicUsize::new(0));
    let neighbours = turns.clone();
    tokio::spawn(async move {
        loop {
            neighbours.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    });
    let source = futures::stream::iter([hello.freeze(), wire.freeze()].map(Ok::<_, Infallible>));
    let link = Link { source, sink: futures::sink::drain() };
    let ended = carrier.link(link, KEEPALIVE, |_| {}).await;
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    assert!(turns.load(Ordering::Relaxed) > 100, "{turns:?}");
}
