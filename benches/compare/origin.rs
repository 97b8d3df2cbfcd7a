//! The tiny origin behind every proxy: one thread, one epoll, one fixed answer.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const LISTENER: u64 = u64::MAX;

/// Starts it on the core of whoever calls.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || serve(&listener));
    address
}

fn serve(listener: &TcpListener) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN).unwrap();
    let (mut streams, mut last) = (HashMap::new(), 0_u64);
    let mut events = Vec::with_capacity(1024);
    loop {
        epoll::wait(&epoll, spare_capacity(&mut events), None).unwrap();
        for event in events.drain(..) {
            let at = event.data.u64();
            if at != LISTENER {
                if streams.get_mut(&at).is_some_and(|stream| !answer(stream)) {
                    streams.remove(&at);
                }
                continue;
            }
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                last += 1;
                epoll::add(&epoll, &stream, epoll::EventData::new_u64(last), epoll::EventFlags::IN).unwrap();
                streams.insert(last, stream);
            }
        }
    }
}

/// Answers what has come; false when the connection has ended. A proxy's head comes in one piece.
fn answer(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 8192];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) if buffer[..count].ends_with(b"\r\n\r\n") => stream.write_all(ANSWER).is_ok(),
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
