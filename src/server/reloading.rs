//! What a reload does, whoever asks for it: a command, a signal or the admin listener.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::settings::Reconfigure;
use super::systemd;
use crate::listen::Reload;
use crate::reload::{ReloadRequest, request_reload};

/// Has the files read anew.
#[derive(Debug)]
pub(super) struct Reloading {
    reconfigure: Arc<Reconfigure>,
    policies: mpsc::Sender<ReloadRequest>,
}

impl Reloading {
    pub(super) fn new(reconfigure: Reconfigure, policies: mpsc::Sender<ReloadRequest>) -> Self {
        Self { reconfigure: Arc::new(reconfigure), policies }
    }
}

#[async_trait]
impl Reload for Reloading {
    /// Reads `edge.toml` and the policies. Either may be refused; a termination does not wait for a configuration.
    async fn reload(&self) -> Value {
        systemd::reloading();
        let reconfigure = Arc::clone(&self.reconfigure);
        let config = tokio::task::spawn_blocking(move || reconfigure.reload()).await;
        let report = request_reload(&self.policies).await.map(|report| json!(report));
        systemd::ready();
        let Some(mut report) = report else { return json!({ "error": "the edge is stopping" }) };
        if let (Some(fields), Ok(config)) = (report.as_object_mut(), config) {
            fields.insert("config".to_owned(), config);
        }
        report
    }
}
