use futures::stream::{self, BoxStream};

use super::*;

/// Says hello, and nothing else.
fn speechless(hello: Hello) -> BoxStream<'static, Result<Bytes, Infallible>> {
    let mut bytes = bytes::BytesMut::new();
    let body = Body::Hello(Hello { version: VERSION, carrier: "one".into(), ..hello });
    Frame { stream: 0, body }.encode(&mut bytes);
    stream::iter([Ok(bytes.freeze())]).chain(stream::pending()).boxed()
}

/// Regression: such a link was waited for without end, its pings behind what nobody took.
#[tokio::test]
async fn a_link_that_takes_nothing_is_given_up() {
    let (bastion, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let _stream = bastion.open(Bytes::from_static(b"x"));
    let sink = Box::pin(futures::sink::unfold(false, |said_hello, _: Bytes| async move {
        match said_hello {
            false => Ok::<_, Infallible>(true),
            true => std::future::pending().await,
        }
    }));
    let keepalive = Keepalive { ping: Duration::from_millis(10), ..KEEPALIVE };
    let mut told = Vec::new();
    let ended =
        bastion.link(Link { source: speechless(Hello::default()), sink }, keepalive, |news| told.push(news)).await;
    assert!(matches!(ended, Err(Error::Silent)), "{ended:?}");
    assert_eq!(told, [LinkEvent::Linked]);
}

/// Whoever linked next waited for it for ever.
#[tokio::test]
async fn a_link_that_does_not_even_take_a_hello_makes_way() {
    let (bastion, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let stalled = Box::pin(futures::sink::unfold((), |(), _: Bytes| std::future::pending::<Result<(), Infallible>>()));
    let link = Link { source: speechless(Hello::default()), sink: stalled };
    let ended = tokio::time::timeout(Duration::from_secs(60), bastion.link(link, KEEPALIVE, |_| {})).await;
    assert!(matches!(ended, Ok(Err(Error::Silent))), "{ended:?}");
    assert!(!bastion.is_linked());
}

/// Regression: such a pause was told of as an interruption, as nothing asked the other side.
#[tokio::test]
async fn a_ping_that_falls_due_while_something_is_sent_follows_it() {
    let (bastion, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let stream = bastion.open(Bytes::from_static(b"x"));
    let (written, mut taken) = mpsc::channel::<Bytes>(0);
    let link = Link { source: speechless(Hello::default()), sink: written };
    let seldom = Keepalive { ping: Duration::from_hours(1), ..KEEPALIVE };
    let linked = bastion.link(link, seldom, |_| {});
    let pinged = async {
        assert!(taken.next().await.is_some(), "no hello");
        stream.sender.data(Bytes::from_static(b"held up")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2500)).await; // A ping falls due 2 s after something was written.
        let mut pieces = frame::Pieces::default();
        loop {
            pieces.add(taken.next().await.unwrap());
            while let Some(frame) = pieces.next().unwrap() {
                if frame.body == Body::Ping {
                    return;
                }
            }
        }
    };
    tokio::select! {
        ended = linked => panic!("{ended:?}"),
        () = pinged => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no ping followed"),
    }
}

/// A bastion whose host is gone says nothing, and its shells were taken for attached.
#[tokio::test]
async fn the_side_that_is_asked_gives_up_one_that_does_not_ask_any_more() {
    let ends = async |silence| {
        let (agent, _incoming) = Carrier::new(Side::Agent, "one".into());
        let mut source = speechless(Hello { silence, ..Hello::default() });
        let accepted = accept(&mut source).await.unwrap();
        agent.accepted(Link { source, sink: Box::pin(futures::sink::drain()) }, accepted).await
    };
    assert!(matches!(ends(Some(1)).await, Err(Error::Silent)));
    let older = tokio::time::timeout(Duration::from_secs(3), ends(None)).await;
    assert!(older.is_err(), "a bastion that says nothing of its pings is gone");
}
