//! The admin listener: `/status`, `/metrics` and `/reload`, for operators and their monitoring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::Value;

use crate::gate::Gate;
use crate::status::Status;

/// Has the edge read its files anew.
#[async_trait]
pub trait Reload: std::fmt::Debug + Send + Sync {
    /// Says what came of it, as the control socket does.
    async fn reload(&self) -> Value;
}

/// Serves the state of one edge. All that can be changed through it is when files are read.
#[derive(Debug)]
pub struct Admin {
    gate: Arc<Gate>,
    status: Arc<Status>,
    reload: Arc<dyn Reload>,
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
    pub fn new(
        gate: Arc<Gate>,
        status: Arc<Status>,
        reload: Arc<dyn Reload>,
        token_file: Option<&Path>,
    ) -> Result<Self, AdminError> {
        let token = token_file.map(read_token).transpose()?;
        Ok(Self { gate, status, reload, token })
    }

    async fn answer(&self, method: &Method, path: &str, authorization: Option<&[u8]>) -> Response<Vec<u8>> {
        if !self.admits(authorization) {
            let mut refused = plain(StatusCode::UNAUTHORIZED, "show the token as `Authorization: Bearer …`");
            let scheme = header::HeaderValue::from_static("Bearer");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            return refused;
        }
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match path {
            "/status" | "/metrics" if !is_read => only("GET, HEAD"),
            "/reload" if *method != Method::POST => only("POST"),
            "/reload" => reloaded(&self.reload.reload().await),
            "/status" => typed("application/json", self.status.to_json()),
            "/metrics" => {
                self.status.refresh(self.gate.metrics());
                match self.gate.metrics().text() {
                    Ok(text) => typed("text/plain; version=0.0.4", text),
                    Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
            _ => plain(StatusCode::NOT_FOUND, "there are /status, /metrics and /reload"),
        }
    }

    fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        same(authorization.and_then(bearer).unwrap_or_default(), token.as_bytes())
    }
}

/// The token of an `Authorization` field. The scheme is written in any letter case (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer".len())?;
    let token = token.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"Bearer"))?;
    Some(token.trim_ascii_start())
}

/// The answer to another method than these (RFC 9110 §15.5.6).
fn only(methods: &'static str) -> Response<Vec<u8>> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, &format!("only {methods}"));
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    response
}

/// What came of a reload: 409 when the policies or the settings were not taken, 503 when nobody could read them.
fn reloaded(told: &Value) -> Response<Vec<u8>> {
    let is_refused = |at| matches!(told.pointer(at).and_then(Value::as_str), Some("rejected" | "held"));
    let status = if told.get("error").is_some() {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is_refused("/result") || is_refused("/config/result") {
        StatusCode::CONFLICT
    } else {
        StatusCode::OK
    };
    let mut response = typed("application/json", format!("{told}\n").into_bytes());
    *response.status_mut() = status;
    response
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
        // Without a token, any page that is open on this machine could have a browser send it.
        let is_from_a_page =
            request.headers.contains_key(header::ORIGIN) || request.headers.contains_key("sec-fetch-site");
        if request.method == Method::POST && is_from_a_page {
            return plain(StatusCode::FORBIDDEN, "no page in a browser may ask for that");
        }
        let authorization = request.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        self.answer(&request.method, request.uri.path(), authorization).await
    }
}
