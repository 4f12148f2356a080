use super::*;

fn ask(carrier: &Carrier) -> Stream {
    carrier.open(Bytes::from_static(b"x"))
}

async fn is_asked(stream: &Stream) {
    while !stream.receiver.was_asked() {
        tokio::task::yield_now().await;
    }
}

/// Whether it had begun was known of nothing that was under way as a side ended.
#[tokio::test]
async fn what_a_side_that_leaves_did_not_answer_was_not_asked_of_it() {
    let mut pair = Pair::new();
    let link = pair.link();
    let mut begun = ask(&pair.bastion);
    let (_, agents) = pair.opened.recv().await.unwrap();
    pair.agent.refuse();
    let mut late = ask(&pair.bastion);
    is_asked(&late).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!link.is_finished(), "it left with a request that it had not answered");
    assert!(agents.sender.send(Message::control(&"begun")).is_ok());
    leaves(&pair, link, Duration::from_secs(60)).await;
    assert!(matches!(begun.receiver.receive().await, Some((Message::Control(_), _))));
    assert!(begun.receiver.was_asked());
    assert!(late.receiver.receive().await.is_none());
    assert!(!late.receiver.was_asked());
    assert!(pair.opened.try_recv().is_err(), "it was taken in");
}

async fn leaves(pair: &Pair, link: JoinHandle<()>, patience: Duration) {
    pair.agent.leave(patience).await;
    link.await.unwrap();
    pair.bastion.close();
}

/// A connection that is being made, say.
#[tokio::test]
async fn what_is_not_answered_in_time_holds_up_no_farewell_and_may_have_begun() {
    let mut pair = Pair::new();
    let link = pair.link();
    let slow = ask(&pair.bastion);
    let _slow = pair.opened.recv().await.unwrap();
    pair.agent.refuse();
    let late = ask(&pair.bastion);
    is_asked(&late).await;
    leaves(&pair, link, Duration::from_millis(20)).await;
    assert_eq!([&slow, &late].map(|stream| stream.receiver.was_asked()), [true, false]);
}

#[tokio::test]
async fn what_went_out_to_a_side_that_is_gone_without_a_word_may_have_begun() {
    let pair = Pair::new();
    let unasked = ask(&pair.bastion);
    assert!(!unasked.receiver.was_asked());
    let link = pair.link();
    is_asked(&unasked).await;
    link.abort();
    let _ = link.await;
    let late = ask(&pair.bastion);
    pair.bastion.close();
    assert_eq!([&unasked, &late].map(|stream| stream.receiver.was_asked()), [true, false]);
}

/// The link broke with the request in it.
#[tokio::test]
async fn what_the_next_link_tells_not_to_be_known_was_not_asked() {
    let (carrier, _incoming) = Carrier::new(Side::Bastion, "one".into());
    let stream = ask(&carrier);
    carrier.0.state().write(&mut bytes::BytesMut::new(), usize::MAX);
    assert!(stream.receiver.was_asked());
    carrier.0.state().relink(&[]).unwrap();
    assert!(!stream.receiver.was_asked());
}
