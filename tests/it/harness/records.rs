//! Stands between a client and a listener with TLS, and counts the records that come back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Passes one connection on, record by record (RFC 8446 §5.1).
pub struct Records {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Records {
    /// In front of a listener.
    pub fn of(listener: SocketAddr) -> Self {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        // Ends with the connection.
        thread::spawn(move || {
            let client = front.accept().unwrap().0;
            let edge = TcpStream::connect(listener).unwrap();
            client.set_nodelay(true).unwrap();
            edge.set_nodelay(true).unwrap();
            let (mut asking, mut asked) = (client.try_clone().unwrap(), edge.try_clone().unwrap());
            thread::spawn(move || {
                io::copy(&mut asking, &mut asked).ok();
                asked.shutdown(Shutdown::Write).ok();
            });
            // Either side may end in the middle.
            pass_on(edge, &client, &counted).ok();
            client.shutdown(Shutdown::Both).ok();
        });
        Self { address, count }
    }

    /// Where to connect to instead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many records have come. Whoever has read what is in one finds it counted.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: &TcpStream, counted: &AtomicUsize) -> io::Result<()> {
    loop {
        let mut record = vec![0; 5];
        from.read_exact(&mut record)?;
        let length = u16::from_be_bytes([record[3], record[4]]);
        record.resize(5 + usize::from(length), 0);
        from.read_exact(&mut record[5..])?;
        counted.fetch_add(1, Ordering::SeqCst);
        to.write_all(&record)?;
    }
}
