//! A customer's server for `make run`: says what it was asked, and for whom.
//!
//! ```text
//! cargo run --example demo_origin -- 127.0.0.1:9000
//! ```

use std::error::Error;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No demo request has a longer head.
const HEAD_OCTETS: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // A client that goes away is nothing to report.
                serve(stream).await.ok();
            });
        }
    })
}

/// Answers one request after the other. Content is not read: a request that has some ends the connection.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut unread = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut unread).await? else { return Ok(()) };
        let field = |name: &str| {
            let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
        };
        let request_line = head.lines().next().unwrap_or_default();
        let (method, path) = request_line.split_once(' ').unwrap_or((request_line, ""));
        let path = path.split(' ').next().unwrap_or_default();
        let last = field("content-length").is_some_and(|length| length != "0")
            || field("transfer-encoding").is_some()
            || field("connection").is_some_and(|option| option.eq_ignore_ascii_case("close"));
        let body =
            format!("the demo origin got: {method} {path} for {}\n", field("host").unwrap_or("nobody"));
        let connection = if last { "Connection: close\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{connection}\r\n",
            body.len()
        );
        if method != "HEAD" {
            answer.push_str(&body);
        }
        // In one piece: the second of two would wait until the first is acknowledged, which takes 40 ms (RFC 896).
        stream.write_all(answer.as_bytes()).await?;
        if last {
            return stream.shutdown().await;
        }
    }
}

/// The next head, without the empty line that ends it; `None` at the end of the connection or when it is too long.
async fn read_head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        if unread.len() > HEAD_OCTETS || stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}
