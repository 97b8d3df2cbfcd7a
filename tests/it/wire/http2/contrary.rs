//! Servers that are wrong, to see that the cases notice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::link::{FIRST_FLAG, GOAWAY, PREFACE, SETTINGS, frame};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It takes connections and says nothing at all.
    Mute,
    /// It begins as it should, and then says nothing.
    Silent,
    /// It begins as it should, and ends the connection with a code that means nothing, whatever comes.
    Rude,
}

/// Starts one. It ends with the process of the test.
pub fn start(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that has had enough is no failure.
            thread::spawn(move || serve(stream, manner).ok());
        }
    });
    address
}

fn serve(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut block = [0; 4096];
    if manner != Manner::Mute {
        stream.write_all(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))?;
        stream.write_all(&frame(SETTINGS, FIRST_FLAG, 0, &[]))?;
    }
    if manner == Manner::Rude {
        // The client's beginning: its preface, its settings, and its acknowledgement, when it gets so far.
        let beginning = PREFACE.len() + 15 + 9;
        let mut taken = 0;
        while taken <= beginning {
            let count = stream.read(&mut block)?;
            let is_http2 = taken > 0 || block.starts_with(&PREFACE[..count.min(PREFACE.len())]);
            taken += count;
            if count == 0 || !is_http2 {
                break;
            }
        }
        return stream.write_all(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0x77]));
    }
    while stream.read(&mut block)? > 0 {}
    Ok(())
}
