use super::super::budget::{FLOOR, LOWEST_FLOOR, TERMINAL_FLOOR};
use super::super::state::MANY_STREAMS;
use super::*;

const LIMIT: usize = 16 << 20;

fn flood(carrier: &Carrier, id: u32) {
    for _ in 0..31 {
        receive(carrier, id, Body::Message(Message::Data(vec![0; MAX_DATA].into()))).unwrap();
    }
}

/// A window for each stream was all that bounded them, and one user may have thousands of those.
#[tokio::test]
async fn what_nobody_reads_is_bounded_over_all_streams_and_does_not_hurt_others() {
    let budget = Budget::new(LIMIT);
    let (greedy, _incoming) = Carrier::within(budget.clone(), Side::Bastion, "greedy".into());
    let (modest, _incoming) = Carrier::within(budget, Side::Bastion, "modest".into());
    let streams: Vec<_> = (0..100).map(|_| greedy.open(Bytes::from_static(b"x"))).collect();
    let mut stream = modest.open(Bytes::from_static(b"x"));
    for number in 0..100 {
        flood(&greedy, 2 * number + 1);
    }
    let kept = greedy.0.state().share.kept();
    assert!((LIMIT / 2..=LIMIT + 100 * FLOOR).contains(&kept), "{kept}");
    flood(&modest, 1);
    assert!(modest.0.state().share.kept() > 31 * MAX_DATA, "a modest one was held to account");
    assert!(stream.receiver.receive().await.is_some());
    drop(streams);
    greedy.close();
    drop(stream);
    modest.close();
    assert_eq!([greedy, modest].map(|carrier| carrier.0.state().share.kept()), [0, 0]);
}

/// Terminals were spared, as many as they were: one user's had a MiB each.
#[tokio::test]
async fn terminals_have_more_each_but_no_more_together() {
    for (terminals, each) in [(8, TERMINAL_FLOOR), (100, FLOOR)] {
        let (carrier, _incoming) = Carrier::within(Budget::new(LIMIT), Side::Bastion, "one".into());
        let streams: Vec<_> = (0..200).map(|_| carrier.open(Bytes::from_static(b"x"))).collect();
        for stream in &streams[..terminals] {
            stream.sender.mark_terminal();
        }
        for number in (terminals as u32..200).chain(0..terminals as u32) {
            flood(&carrier, 2 * number + 1);
        }
        let kept = carrier.0.state().share.kept();
        assert!((LIMIT / 2..=LIMIT + 200 * FLOOR + terminals * each).contains(&kept), "{terminals}: {kept}");
        drop(streams);
    }
}

/// All that its window allows was under way to it, and is more than it may have while memory is scarce.
#[tokio::test]
async fn a_terminal_that_says_much_goes_on_while_memory_is_scarce() {
    const LARGE: usize = (LIMIT - 8 * FLOOR) / 16;
    let (bastion, _) = Carrier::within(Budget::new(LIMIT), Side::Bastion, "one".into());
    let (agent, opened) = Carrier::new(Side::Agent, "one".into());
    let mut pair = Pair { bastion, agent, opened };
    let _link = pair.link();
    let mut streams: Vec<_> = (0..26).map(|_| pair.bastion.open(Bytes::from_static(b"x"))).collect();
    let mut agents = Vec::new();
    for _ in 0..26 {
        agents.push(pair.opened.recv().await.unwrap().1);
    }
    for agents in &agents[..16] {
        agents.sender.data(vec![0; LARGE].into()).await.unwrap();
    }
    while pair.bastion.0.state().share.kept() < 16 * LARGE {
        tokio::task::yield_now().await;
    }
    for agents in &agents[16..25] {
        agents.sender.data(vec![0; FLOOR].into()).await.unwrap();
    }
    while pair.bastion.0.state().share.kept() < 16 * LARGE + 9 * FLOOR {
        tokio::task::yield_now().await;
    }
    let sender = agents[25].sender.clone();
    sender.mark_terminal();
    streams[25].sender.mark_terminal();
    tokio::spawn(async move {
        sender.data(vec![7; 4 << 20].into()).await.unwrap();
        sender.send(Message::Eof).unwrap();
    });
    let came = || pair.bastion.0.state().streams[&51].arrived_bytes;
    while came() < TERMINAL_FLOOR as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(collect(&mut streams[25].receiver).await.len(), 4 << 20);
}

/// With a floor of 32 KiB for each, thousands had many times what all carriers may keep together.
#[tokio::test]
async fn many_streams_have_less_each_both_ways() {
    const BOUND: usize = LIMIT + 2 * MAX_DATA + MANY_STREAMS * LOWEST_FLOOR;
    let budget = Budget::new(LIMIT);
    let (carrier, _incoming) = Carrier::within(budget, Side::Bastion, "one".into());
    let streams: Vec<_> = (0..MANY_STREAMS).map(|_| carrier.open(Bytes::from_static(b"x"))).collect();
    for number in 0..20 {
        flood(&carrier, 2 * number + 1);
    }
    for number in 20..MANY_STREAMS as u32 {
        receive(&carrier, 2 * number + 1, Body::Message(Message::Data(vec![0; MAX_DATA].into()))).unwrap();
    }
    let kept = carrier.0.state().share.kept();
    assert!((LIMIT / 2..=BOUND).contains(&kept), "came: {kept}");
    drop(streams);

    let (carrier, _incoming) = Carrier::within(Budget::new(LIMIT), Side::Bastion, "one".into());
    let streams: Vec<_> = (0..MANY_STREAMS).map(|_| carrier.open(Bytes::from_static(b"x"))).collect();
    let full = Bytes::from_static(&[0; 1 << 16]);
    for stream in &streams {
        let _ = tokio::task::unconstrained(stream.sender.data(full.clone())).now_or_never();
    }
    let kept = carrier.0.state().share.kept();
    assert!((LIMIT / 2..=BOUND).contains(&kept), "goes: {kept}");
}

/// What no window holds up counted against others, and was never given up: a pod had a MiB for each stream.
#[tokio::test]
async fn messages_without_weight_are_bounded_over_all_streams_too() {
    for control in [Message::Control(vec![b'c'; MAX_PAYLOAD].into()), Message::Data(Bytes::new()), Message::Eof] {
        const LIMIT: usize = 1 << 20;
        let number = if control.payload().is_empty() { queue::MAX_WEIGHTLESS } else { 3 };
        let (carrier, _incoming) = Carrier::within(Budget::new(LIMIT), Side::Bastion, "one".into());
        let streams: Vec<_> = (0..50).map(|_| carrier.open(Bytes::from_static(b"x"))).collect();
        for at in 0..50 {
            for _ in 0..number {
                receive(&carrier, 2 * at + 1, Body::Message(control.clone())).unwrap();
            }
        }
        let kept = carrier.0.state().share.kept();
        assert!((LIMIT / 2..=LIMIT + MAX_PAYLOAD + 50 * FLOOR).contains(&kept), "{kept}");
        drop(streams);
    }
}

#[tokio::test]
async fn what_the_other_side_does_not_take_is_bounded_as_well() {
    let (carrier, _incoming) = Carrier::within(Budget::new(LIMIT), Side::Bastion, "one".into());
    let streams: Vec<_> = (0..100).map(|_| carrier.open(Bytes::from_static(b"x"))).collect();
    let full = Bytes::from_static(&[0; 1 << 20]);
    for stream in &streams {
        let _ = tokio::task::unconstrained(stream.sender.data(full.clone())).now_or_never();
    }
    let kept = carrier.0.state().share.kept();
    assert!((LIMIT / 2..=LIMIT + 100 * FLOOR).contains(&kept), "{kept}");
}

/// The other side tells of what it took after a quarter of its window, of which nobody could send so much.
#[tokio::test]
async fn sending_goes_on_while_memory_is_scarce() {
    let (bastion, _) = Carrier::within(Budget::new(0), Side::Bastion, "one".into());
    let (agent, opened) = Carrier::new(Side::Agent, "one".into());
    let mut pair = Pair { bastion, agent, opened };
    let _link = pair.link();
    let Stream { sender, .. } = pair.bastion.open(Bytes::from_static(b"x"));
    let (_, mut agents) = pair.opened.recv().await.unwrap();
    let took = std::time::Instant::now();
    tokio::spawn(async move {
        sender.data(vec![7; 1 << 20].into()).await.unwrap();
        sender.send(Message::Eof).unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(collect(&mut agents.receiver).await.len(), 1 << 20);
    assert!(took.elapsed() < 6 * KEEPALIVE.ping, "{:?}", took.elapsed());
}

/// Regression: a stream too many ended the link, and each link after it.
#[tokio::test]
async fn a_stream_too_many_is_over_and_all_others_go_on() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..MANY_STREAMS).map(|_| pair.bastion.open(Bytes::from_static(b"x"))).collect();
    let mut one_more = pair.bastion.open(Bytes::from_static(b"x"));
    assert!(one_more.receiver.receive().await.is_none());
    for _ in 0..2 {
        let link = pair.link();
        while pair.agent.streams() < MANY_STREAMS {
            tokio::task::yield_now().await;
        }
        let (_, agents) = pair.opened.recv().await.unwrap();
        drop(agents);
        link.abort();
        let _ = link.await;
    }
    drop(streams);
}
