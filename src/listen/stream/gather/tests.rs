//! What waits, for how long, and that all of it goes out.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::Pace;
use super::*;
use crate::listen::frames::FrameLimits;

fn connection(between: usize) -> (EdgeStream, Arc<Hold>, DuplexStream) {
    let (edge, client) = duplex(between);
    let pace = Pace { stall: Duration::from_secs(5), least: 0 };
    let mut edge = EdgeStream::new(Box::new(edge), pace);
    let hold = edge.gather();
    (edge, hold, client)
}

/// What has come to the client, without waiting for more.
async fn come(client: &mut DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut piece = [0; 4096];
        tokio::select! {
            biased;
            count = client.read(&mut piece) => match count.unwrap() {
                0 => return all,
                count => all.extend_from_slice(&piece[..count]),
            },
            () = std::future::ready(()) => return all,
        }
    }
}

#[tokio::test]
async fn what_is_flushed_while_there_is_more_to_do_goes_out_before_the_waiting() {
    let (mut edge, hold, mut client) = connection(100_000);
    for turn in 0..3u8 {
        let done = hold.while_busy(async {
            edge.write_all(&[turn; 100]).await.unwrap();
            edge.flush().await.unwrap();
        });
        done.await;
        assert_eq!(come(&mut client).await, b"");
    }
    // It flushes as often as it is polled, as the library does, and then has nothing to do.
    let idle = hold.while_busy(std::future::poll_fn(|cx| {
        assert!(Pin::new(&mut edge).poll_flush(cx).is_ready());
        Poll::<()>::Pending
    }));
    tokio::select! {
        biased;
        () = idle => unreachable!(),
        () = std::future::ready(()) => {}
    }
    assert_eq!(come(&mut client).await, [[0; 100], [1; 100], [2; 100]].concat());
    let gathered = edge.gathered.as_ref().unwrap();
    assert_eq!((gathered.octets.capacity(), gathered.sent), (0, 0), "it holds nothing");
}

#[tokio::test]
async fn nothing_waits_beyond_a_record_and_all_of_it_comes_in_order() {
    let (mut edge, hold, mut client) = connection(1_000_000);
    hold.is_on.store(true, Ordering::Relaxed);
    let mut expected = Vec::new();
    for (turn, length) in (0u8..).zip([10, limits::HTTP2_GATHERED_BYTES - 10, 1, 50_000, 7, 16_000, 500]) {
        let octets = vec![turn; length];
        edge.write_all(&octets).await.unwrap();
        edge.flush().await.unwrap();
        expected.extend_from_slice(&octets);
        assert!(edge.gathered.as_ref().unwrap().octets.len() <= limits::HTTP2_GATHERED_BYTES);
    }
    let early = come(&mut client).await;
    assert_eq!(early.len(), expected.len() - 500, "only the last has room to wait");
    hold.release();
    edge.flush().await.unwrap();
    let rest = come(&mut client).await;
    assert_eq!([early, rest].concat(), expected);
}

#[tokio::test]
async fn an_end_in_order_sends_what_waits_and_a_slow_client_gets_it_in_pieces() {
    let (mut edge, hold, mut client) = connection(64);
    hold.is_on.store(true, Ordering::Relaxed);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all
    });
    edge.write_all(&[b'x'; 5_000]).await.unwrap();
    edge.shutdown().await.unwrap();
    assert_eq!(reading.await.unwrap(), [b'x'; 5_000]);
    assert_eq!(edge.taken, 5_000, "what a client has taken counts for its pace");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up_however_often_the_connection_is_driven() {
    let (mut edge, hold, _client) = connection(64);
    edge.write_all(&[b'x'; 5_000]).await.unwrap();
    let driving = std::future::poll_fn(|cx| Pin::new(&mut edge).poll_flush(cx));
    let mut driving = pin!(hold.while_busy(async {
        // As the library does: it flushes with every poll, and is driven by whatever else the connection hears.
        let mut driving = pin!(driving);
        std::future::poll_fn(|cx| match driving.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => Poll::Pending,
            other => other,
        })
        .await
    }));
    let began = tokio::time::Instant::now();
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut driving => break outcome,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    };
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn what_is_gathered_goes_out_when_the_client_has_ended_its_side() {
    let (mut edge, hold, mut client) = connection(100_000);
    edge.admit(super::super::Budget::Unlimited);
    hold.is_on.store(true, Ordering::Relaxed);
    edge.write_all(b"answer").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(edge.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(come(&mut client).await, b"answer");
}

#[tokio::test]
async fn a_flush_is_owed_for_what_is_not_flushed_and_for_nothing_else() {
    let (mut edge, hold, mut client) = connection(100_000);
    let is_owed = |hold: &Hold| hold.is_owed.swap(false, Ordering::Relaxed);
    for length in [10, limits::HTTP2_GATHERED_BYTES, limits::HTTP2_GATHERED_BYTES + 1] {
        hold.is_on.store(true, Ordering::Relaxed);
        edge.flush().await.unwrap();
        assert!(!is_owed(&hold), "nothing was written");
        edge.write_all(&vec![b'x'; length]).await.unwrap();
        edge.flush().await.unwrap();
        assert!(is_owed(&hold), "{length} octets");
        hold.release();
        edge.flush().await.unwrap();
        assert!(!is_owed(&hold), "all of it is out");
        assert_eq!(come(&mut client).await.len(), length);
    }
}

/// What writes into a buffer of its own, as Pingora's stream and TLS do, has everything before it has flushed.
#[tokio::test(start_paused = true)]
async fn a_flush_that_was_interrupted_goes_on() {
    let (inner, _, mut client) = connection(64);
    let mut edge = EdgeStream::new(Box::new(inner), Pace { stall: Duration::from_secs(5), least: 0 });
    let hold = edge.gather();
    edge.write_all(&[b'x'; 500]).await.unwrap();
    let flushing = std::future::poll_fn(|cx| match Pin::new(&mut edge).poll_flush(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(error),
        _ => Poll::Pending,
    });
    let mut driving = pin!(hold.while_busy(flushing));
    let mut all = [0; 500];
    tokio::select! {
        error = &mut driving => panic!("{error}"),
        read = client.read_exact(&mut all) => assert_eq!(read.unwrap(), 500),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it stands still"),
    }
    assert_eq!(all, [b'x'; 500]);
}

#[tokio::test]
async fn a_connection_without_anything_to_send_is_driven_once() {
    let (mut edge, hold, _client) = connection(100);
    let mut polls = 0;
    let idle = hold.while_busy(std::future::poll_fn(|cx| {
        polls += 1;
        assert!(Pin::new(&mut edge).poll_flush(cx).is_ready());
        Poll::<()>::Pending
    }));
    tokio::select! {
        biased;
        () = idle => unreachable!(),
        () = std::future::ready(()) => {}
    }
    assert_eq!(polls, 1);
}

#[tokio::test]
async fn a_client_earns_frames_by_what_is_gathered_for_it() {
    for answered in [0, 16_000] {
        let (mut edge, _hold, mut client) = connection(100_000);
        edge.admit(super::super::Budget::Unlimited);
        let second = Duration::from_secs(1);
        let alarm = edge.count_frames(FrameLimits {
            resets: 1,
            control: 1,
            header_list: 1000,
            header_timeout: second,
        });
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        for _ in 0..2 {
            assert!(!alarm.has_rung());
            let ping = [[0, 0, 8, 6, 0, 0, 0, 0, 0].as_slice(), &[0; 8]].concat();
            client.write_all(&ping.repeat(limits::HTTP2_BURST_SECONDS as usize)).await.unwrap();
            let mut room = [0; 4096];
            tokio::select! {
                biased;
                read = edge.read(&mut room) => assert!(read.is_ok()),
                () = std::future::ready(()) => {}
            }
            edge.write_all(&vec![b'x'; answered]).await.unwrap();
        }
        assert_eq!(alarm.has_rung(), answered == 0);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_an_error() {
    let (mut edge, _hold, client) = connection(64);
    drop(client);
    edge.write_all(b"x").await.unwrap();
    assert_eq!(edge.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
