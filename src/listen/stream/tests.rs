//! A client that takes its answers in small pieces.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const STALL: Duration = Duration::from_millis(400);
/// What lies between the two without either waiting.
const BETWEEN: usize = 1000;

fn connection(least: u64) -> (EdgeStream, DuplexStream) {
    let (edge, client) = duplex(BETWEEN);
    (EdgeStream::new(Box::new(edge), Pace { stall: STALL, least }), client)
}

/// Takes a hundred octets every twenty milliseconds, until there are no more: five thousand a second.
async fn sip(mut client: DuplexStream) -> usize {
    let (mut all, mut piece) = (0, [0; 100]);
    while let Ok(count @ 1..) = client.read(&mut piece).await {
        all += count;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all
}

#[tokio::test]
async fn a_client_that_takes_too_little_is_given_up_however_steadily_it_takes_it() {
    let (mut edge, client) = connection(20_000);
    let sipping = tokio::spawn(sip(client));
    let error = edge.write_all(&[b'x'; 200_000]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(edge);
    assert!(sipping.await.unwrap() < 200_000);
}

#[tokio::test]
async fn a_slow_client_that_takes_enough_gets_all_of_it() {
    for least in [0, 100] {
        let (mut edge, client) = connection(least);
        let sipping = tokio::spawn(sip(client));
        edge.write_all(&[b'x'; 8_000]).await.unwrap();
        drop(edge);
        assert_eq!(sipping.await.unwrap(), 8_000);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_the_edge_is_not_the_slow_one() {
    let (mut edge, mut client) = connection(1_000_000);
    let reading = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await.unwrap() });
    for _ in 0..6 {
        edge.write_all(b"x").await.unwrap();
        tokio::time::sleep(STALL / 2).await;
    }
    drop(edge);
    assert_eq!(reading.await.unwrap(), 6);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up_after_one_wait() {
    let (mut edge, _client) = connection(0);
    let began = Instant::now();
    let error = edge.write_all(&[b'x'; 2 * BETWEEN]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(began.elapsed() >= STALL);
}

#[tokio::test]
async fn what_comes_an_octet_at_a_time_needs_no_more_room_with_each() {
    let (mut edge, mut client) = connection(0);
    for count in 1..=limits::SMALL_READ_BYTES {
        client.write_all(b"x").await.unwrap();
        assert_eq!((edge.fill().await.unwrap(), edge.buffered().len()), (1, count));
        assert!(edge.buffer.capacity() <= limits::READ_BUFFER_BYTES, "{count} octets");
    }
    // Nothing is lost where there has to be more.
    for _ in 0..limits::READ_BUFFER_BYTES {
        client.write_all(b"y").await.unwrap();
        edge.fill().await.unwrap();
    }
    let came = [vec![b'x'; limits::SMALL_READ_BYTES], vec![b'y'; limits::READ_BUFFER_BYTES]].concat();
    assert_eq!(edge.buffered(), came);
}
