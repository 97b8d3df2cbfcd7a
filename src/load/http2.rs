//! HTTP/2: streams of shared connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::Mutex;

use super::drive::{Prepared, Trouble};
use super::judge::{self, Answer, Fault};
use super::wire::Reach;

/// Octets that may be under way, of a stream and of a connection: so many that no answer waits for its window.
const WINDOW: u32 = 1 << 20;

/// A connection that several clients share.
pub(super) struct Shared {
    reach: Arc<Reach>,
    current: RefCell<Option<(u64, SendRequest<Bytes>)>>,
    /// Held while a connection is made, so that it is made once.
    making: Mutex<u64>,
}

impl Shared {
    pub(super) fn new(reach: Arc<Reach>) -> Self {
        Self { reach, current: RefCell::new(None), making: Mutex::new(0) }
    }

    /// The connection in use and its number; a new one when there is none.
    async fn sender(&self) -> Result<(u64, SendRequest<Bytes>), Trouble> {
        if let Some(current) = self.current.borrow().clone() {
            return Ok(current);
        }
        let mut made = self.making.lock().await;
        if let Some(current) = self.current.borrow().clone() {
            return Ok(current);
        }
        let connect = |error: &dyn std::fmt::Display| Trouble::new(Fault::Connect, error);
        let wire = self.reach.connect().await.map_err(|error| connect(&error))?;
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).initial_window_size(WINDOW).initial_connection_window_size(16 * WINDOW);
        let (sender, connection) = builder.handshake(wire).await.map_err(|error| connect(&error))?;
        // How it ends is told by the streams on it.
        tokio::task::spawn_local(async move { connection.await.ok() });
        *made += 1;
        *self.current.borrow_mut() = Some((*made, sender.clone()));
        Ok((*made, sender))
    }

    /// Makes no more use of the connection with this number.
    fn drop_connection(&self, number: u64) {
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_some_and(|(in_use, _)| *in_use == number) {
            *current = None;
        }
    }
}

/// One stream at a time of a shared connection.
pub(super) struct Client {
    shared: Rc<Shared>,
    sender: Option<(u64, SendRequest<Bytes>)>,
    /// Connections that had ended between two requests.
    pub(super) renewed: u64,
}

/// What became of a stream.
enum Outcome {
    Answer(Answer),
    /// The connection is gone, and the request may not have been seen.
    Gone(Trouble),
}

impl Client {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        Self { shared, sender: None, renewed: 0 }
    }

    pub(super) async fn open(&mut self) -> Result<(), Trouble> {
        self.sender = Some(self.shared.sender().await?);
        Ok(())
    }

    pub(super) async fn ask(&mut self, request: &Prepared) -> Result<Answer, Trouble> {
        let reused = self.sender.is_some();
        match self.exchange(request).await? {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Gone(_) if reused => {
                self.renewed += 1;
                match self.exchange(request).await? {
                    Outcome::Answer(answer) => Ok(answer),
                    Outcome::Gone(trouble) => Err(trouble),
                }
            }
            Outcome::Gone(trouble) => Err(trouble),
        }
    }

    async fn exchange(&mut self, request: &Prepared) -> Result<Outcome, Trouble> {
        if self.sender.is_none() {
            self.open().await?;
        }
        let Some((number, sender)) = self.sender.take() else {
            return Err(Trouble::new(Fault::Connect, "no connection"));
        };
        let mut sender = match sender.ready().await {
            Ok(sender) => sender,
            Err(error) => return Ok(self.gone(number, &error)),
        };
        let mut head = http::Request::new(());
        *head.uri_mut() = request.uri.clone();
        *head.version_mut() = http::Version::HTTP_2;
        let response = match sender.send_request(head, true) {
            Ok((response, _)) => response,
            Err(error) => return Ok(self.gone(number, &error)),
        };
        self.sender = Some((number, sender));
        let response = match response.await {
            Ok(response) => response,
            Err(error) if error.is_reset() && error.is_remote() => {
                return Ok(Outcome::Answer(Answer::Refused));
            }
            // The other side says goodbye, and that it has not seen this request.
            Err(error)
                if error.is_go_away()
                    && error.is_remote()
                    && error.reason() == Some(h2::Reason::NO_ERROR) =>
            {
                return Ok(self.gone(number, &error));
            }
            Err(error) => {
                self.gone(number, &error);
                return Err(Trouble::new(Fault::Broken, error));
            }
        };
        let mut ids = response.headers().get_all("enforcement-id").iter();
        let id = ids.next().map(|value| judge::id(value.as_bytes()));
        // Two of them are as bad as one that is none.
        let id = if ids.next().is_some() { Some(0) } else { id };
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| Trouble::new(Fault::Broken, error))?;
            // A window that cannot be given back belongs to a stream that is over.
            body.flow_control().release_capacity(data.len()).ok();
        }
        Ok(Outcome::Answer(Answer::Response { status, id }))
    }

    fn gone(&mut self, number: u64, error: &h2::Error) -> Outcome {
        self.sender = None;
        self.shared.drop_connection(number);
        Outcome::Gone(Trouble::new(Fault::Broken, error))
    }
}
