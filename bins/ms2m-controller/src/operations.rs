//! Health and metrics, for the cluster's own tools.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{CONTENT_TYPE, Metrics};

pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let scrape = move || {
        let text = metrics.text();
        async move {
            match text {
                Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
    };
    let router = Router::new().route("/healthz", get(async || "ok\n")).route("/metrics", get(scrape));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}
