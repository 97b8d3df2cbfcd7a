//! Handshakes that are to be refused: a connection, a ClientHello, an alert.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::drive::{Prepared, Trouble};
use super::judge::{Answer, Fault};
use super::wire::Reach;

/// Content type and level of a record that holds a fatal alert (RFC 8446 §5.1 and §6).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
/// RFC 6066 §3.
const UNRECOGNIZED_NAME: u8 = 112;

/// A connection for each request.
pub(super) struct Client {
    reach: Arc<Reach>,
}

impl Client {
    pub(super) fn new(reach: Arc<Reach>) -> Self {
        Self { reach }
    }

    pub(super) async fn ask(&mut self, request: &Prepared) -> Result<Answer, Trouble> {
        let connect = |error| Trouble::new(Fault::Connect, error);
        let mut stream = TcpStream::connect(self.reach.target).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let broken = |error| Trouble::new(Fault::Broken, error);
        stream.write_all(&request.bytes).await.map_err(broken)?;
        let mut record = [0; 7];
        stream.read_exact(&mut record).await.map_err(broken)?;
        // Ended with a reset, its port can be used again at once.
        stream.set_zero_linger().map_err(broken)?;
        match record {
            [ALERT, 3, _, 0, 2, FATAL, UNRECOGNIZED_NAME] => Ok(Answer::Refused),
            // The handshake goes on, and whoever is behind it will be served.
            [HANDSHAKE, ..] => Ok(Answer::Response { status: 0, id: None }),
            other => Err(Trouble::new(Fault::Broken, format!("{other:?} is no alert `unrecognized_name`"))),
        }
    }
}
