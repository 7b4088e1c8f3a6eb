//! Health, readiness and metrics: what the node's own tools ask, in plain HTTP, of which nothing can be learned about checkpoints.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use ms2m_transfer_direct::Agent;
use tokio::net::TcpListener;

use crate::metrics;

pub(crate) async fn serve(listener: TcpListener, agent: Agent) {
    let router =
        Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).route("/metrics", get(scrape)).with_state(agent);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}

async fn ready(State(agent): State<Agent>) -> (StatusCode, &'static str) {
    if agent.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "ending\n") }
}

async fn scrape(State(agent): State<Agent>) -> impl IntoResponse {
    match metrics::text(&agent) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}
