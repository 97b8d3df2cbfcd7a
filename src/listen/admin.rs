//! The admin listener: `/status` and `/metrics`, for operators and their monitoring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::gate::Gate;
use crate::status::Status;

/// Serves the state of one edge. Nothing can be changed through it.
#[derive(Debug)]
pub struct Admin {
    gate: Arc<Gate>,
    status: Arc<Status>,
    /// What a caller must show as `Authorization: Bearer …`; none on loopback.
    token: Option<String>,
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It cannot be read.
    #[error("cannot read the token file `{path}`: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// It holds less than 16 characters.
    #[error("the token file `{0}` is too short; put at least 16 random characters into it")]
    Short(PathBuf),
}

impl Admin {
    /// Serves the state behind `gate` to callers who show the token in the file, if there is one.
    ///
    /// # Errors
    /// When the token file cannot be used.
    pub fn new(gate: Arc<Gate>, status: Arc<Status>, token_file: Option<&Path>) -> Result<Self, AdminError> {
        let token = token_file.map(read_token).transpose()?;
        Ok(Self { gate, status, token })
    }

    fn answer(&self, method: &Method, path: &str, authorization: Option<&[u8]>) -> Response<Vec<u8>> {
        if !self.admits(authorization) {
            return plain(StatusCode::UNAUTHORIZED, "show the token as `Authorization: Bearer …`");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        }
        match path {
            "/status" => typed("application/json", self.status.to_json()),
            "/metrics" => {
                self.status.refresh(self.gate.metrics());
                match self.gate.metrics().text() {
                    Ok(text) => typed("text/plain; version=0.0.4", text),
                    Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
            _ => plain(StatusCode::NOT_FOUND, "there are /status and /metrics"),
        }
    }

    fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = authorization.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        same(shown, token.as_bytes())
    }
}

/// Compares without telling by its time where two texts begin to differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn read_token(path: &Path) -> Result<String, AdminError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| AdminError::Read { path: path.to_path_buf(), cause })?;
    let token = text.trim();
    if token.len() < 16 { Err(AdminError::Short(path.to_path_buf())) } else { Ok(token.to_owned()) }
}

fn plain(status: StatusCode, text: &str) -> Response<Vec<u8>> {
    let mut response = typed("text/plain; charset=utf-8", format!("{text}\n").into_bytes());
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = header::HeaderValue::from(body.len());
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let authorization = request.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        self.answer(&request.method, request.uri.path(), authorization)
    }
}
