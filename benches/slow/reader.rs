//! The least that a server can do with slow clients: it reads what they say, and answers 408 in time.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

const LISTENER: u64 = u64::MAX;

/// One thread; it ends with the process.
pub struct Reader {
    pub address: SocketAddr,
}

impl Reader {
    pub fn start(deadline: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, deadline));
        Self { address }
    }
}

/// Its clients, in the order of their coming: the number of the first, and each until it is gone.
struct Clients {
    epoll: OwnedFd,
    first: u64,
    all: VecDeque<Option<(TcpStream, Instant)>>,
}

fn serve(listener: &TcpListener, deadline: Duration) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN).unwrap();
    let mut clients = Clients { epoll, first: 0, all: VecDeque::new() };
    let patience = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    loop {
        let mut events = Vec::with_capacity(256);
        epoll::wait(&clients.epoll, spare_capacity(&mut events), Some(&patience)).unwrap();
        for event in events {
            match event.data.u64() {
                LISTENER => clients.accept(listener),
                number => clients.read(number),
            }
        }
        clients.close_those_since(deadline);
    }
}

impl Clients {
    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            let number = epoll::EventData::new_u64(self.first + self.all.len() as u64);
            epoll::add(&self.epoll, &stream, number, epoll::EventFlags::IN).unwrap();
            self.all.push_back(Some((stream, Instant::now())));
        }
    }

    fn read(&mut self, number: u64) {
        let Some(client) = number.checked_sub(self.first) else { return };
        let Some(client) = self.all.get_mut(client as usize) else { return };
        let Some((stream, _)) = client else { return };
        match stream.read(&mut [0; 1024]) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => *client = None,
        }
    }

    fn close_those_since(&mut self, deadline: Duration) {
        loop {
            match self.all.front_mut() {
                Some(Some((_, began))) if began.elapsed() < deadline => return,
                Some(Some((stream, _))) => {
                    let answer = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
                    // A client that is gone needs none.
                    stream.write_all(answer).ok();
                }
                Some(None) => {}
                None => return,
            }
            self.all.pop_front();
            self.first += 1;
        }
    }
}
