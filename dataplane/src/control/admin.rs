//! The admin endpoints: health, metrics, explain, reload.

use super::Shared;
use super::answers::{self, ApiError};
use super::backend::Unexplained;
use super::token::Token;
use super::{query, rules};
use crate::config::json::Part;
use crate::explain::DescriptionError;
use crate::telemetry::prometheus;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The limits of the admin endpoints. They are for few, slow callers: health checks, a metrics collector, operators.
#[derive(Clone, Debug)]
pub struct AdminLimits {
    /// Connections served at the same time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may wait for a whole request head, keep-alive included.
    pub head_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// How large a request's body may be.
    pub body_bytes: usize,
    /// How large a change of rules or lists may be.
    pub change_bytes: usize,
    /// Age from which a connection is closed: with the call in progress, or at once if there is none.
    pub connection_age: Duration,
    /// How long that call may still take.
    pub last_call_timeout: Duration,
}

impl Default for AdminLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            body_bytes: 1024 * 1024,
            change_bytes: 64 * 1024 * 1024,
            connection_age: Duration::from_secs(300),
            last_call_timeout: Duration::from_secs(60),
        }
    }
}

/// Changes of rules or lists that are read at the same time; they are made one after another.
const CHANGES_AT_ONCE: usize = 4;

/// A listening socket for the admin endpoints, not served yet.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: std::net::TcpListener,
    pub(super) limits: AdminLimits,
}

impl AdminSocket {
    /// Listens on `address`. Where there is a token, which the backend knows, every call needs it, on loopback too.
    ///
    /// # Errors
    /// The address is taken or not this host's, or it is no loopback address and there is no token.
    pub fn bind(address: SocketAddr, has_token: bool, limits: AdminLimits) -> Result<Self, String> {
        Self::open(address, None, has_token, limits)
    }

    /// The same on a socket that was handed over, unless that listens elsewhere.
    ///
    /// # Errors
    /// As [`AdminSocket::bind`].
    pub fn open(
        address: SocketAddr,
        inherited: Option<OwnedFd>,
        has_token: bool,
        limits: AdminLimits,
    ) -> Result<Self, String> {
        if !has_token && !address.ip().to_canonical().is_loopback() {
            return Err(format!(
                "[admin].address {address} can be reached from outside: set [admin].token_file, or use 127.0.0.1"
            ));
        }
        let fail = |error: std::io::Error| format!("can't listen on [admin].address {address}: {error}");
        let same = |listener: &std::net::TcpListener| {
            listener.local_addr().is_ok_and(|at| {
                at.ip() == address.ip() && (address.port() == 0 || address.port() == at.port())
            })
        };
        let listener = match inherited.map(std::net::TcpListener::from).filter(same) {
            Some(listener) => listener,
            None => std::net::TcpListener::bind(address).map_err(fail)?,
        };
        listener.set_nonblocking(true).map_err(fail)?;
        Ok(Self { listener, limits })
    }

    /// The socket once more, to hand it over.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn copy(&self) -> std::io::Result<OwnedFd> {
        self.listener.try_clone().map(OwnedFd::from)
    }

    /// Where it listens; tells the port if the config asks for port 0.
    ///
    /// # Errors
    /// The kernel doesn't know the socket any more.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(super) struct Admin {
    pub(super) shared: Arc<Shared>,
    pub(super) limits: AdminLimits,
    /// Held while a change is read and made: its body may be large.
    pub(super) changes: Arc<Semaphore>,
}

pub(super) type App = State<Arc<Admin>>;

/// Serves the endpoints until the task is dropped.
pub(super) async fn serve(listener: tokio::net::TcpListener, limits: AdminLimits, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let admin = Arc::new(Admin { shared, limits, changes: Arc::new(Semaphore::new(CHANGES_AT_ONCE)) });
    let router = router(&admin);
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, router.clone(), admin.limits.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, or the peer has gone already: both pass.
                tracing::warn!(%error, "can't accept a connection to the admin address");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, router: Router, limits: AdminLimits) {
    // Without it each small answer waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // An error here is a caller that went away or never spoke HTTP; neither is worth a line.
    if tokio::time::timeout(limits.connection_age, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(limits.last_call_timeout, connection).await;
    }
}

fn router(admin: &Arc<Admin>) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/v1/explain", post(explain))
        .route("/v1/reload", post(reload))
        .merge(rules::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(admin), guard))
        .with_state(Arc::clone(admin))
}

/// Lets through who may ask: with the token, or without one where none is set, unless the call comes from a web
/// page that merely runs on this host.
async fn guard(State(admin): App, request: Request, next: Next) -> Response {
    let refused = match admin.shared.backend.admin_token() {
        Some(token) => refuse_without_token(&token, &request),
        None => refuse_web_page(&request),
    };
    let mut response = match refused {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn refuse_without_token(token: &Token, request: &Request) -> Option<Response> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if token.accepts(authorization.map(header::HeaderValue::as_bytes)) {
        return None;
    }
    let error = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "send `Authorization: Bearer TOKEN` with the token of [admin].token_file",
    );
    let mut response = error.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    Some(response)
}

/// A browser on this host reaches loopback too, and may be told to by any page: by a form, or under a name that a
/// stranger's DNS points here. Such calls carry `Origin`, or a host name that isn't ours.
fn refuse_web_page(request: &Request) -> Option<Response> {
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let from_page = !reads && headers.contains_key(header::ORIGIN);
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if !from_page && host.is_none_or(is_local_name) {
        return None;
    }
    let message = "without [admin].token_file only local programs may call: use the IP address or `localhost`, \
                   and send no Origin header";
    Some(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message).into_response())
}

/// Whether a Host header names an address or `localhost`, with or without a port.
fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn live(State(admin): App) -> Response {
    let live = admin.shared.backend.live();
    (health(live), Json(json!({ "live": live }))).into_response()
}

async fn ready(State(admin): App) -> Response {
    let ready = admin.shared.backend.ready();
    let status = admin.shared.backend.status();
    let body = json!({
        "ready": ready,
        "draining": status.draining,
        "workers": status.workers,
        "workers_ready": status.workers_ready,
    });
    (health(ready), Json(body)).into_response()
}

fn health(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn status(State(admin): App) -> Response {
    let (status, metrics) = admin.shared.collect();
    Json(answers::status(&status, admin.shared.backend.ready(), &metrics)).into_response()
}

async fn metrics(State(admin): App) -> Response {
    let (_, metrics) = admin.shared.collect();
    ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], prometheus::render(&metrics)).into_response()
}

async fn reload(State(admin): App, RawQuery(query): RawQuery) -> Response {
    if let Err(refused) = query::refuse_any(query.as_deref()) {
        return refused.into_response();
    }
    match admin.shared.reload().await {
        Ok(generation) => Json(json!({ "generation": generation })).into_response(),
        Err(errors) => {
            let message = "the config was refused, nothing has changed";
            let error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "reload_refused", message);
            ApiError { errors: errors.into_iter().map(Value::from).collect(), ..error }.into_response()
        }
    }
}

async fn explain(State(admin): App, request: Request) -> Result<Response, ApiError> {
    query::refuse_any(request.uri().query())?;
    let text = rules::read_text(&admin, request, admin.limits.body_bytes).await?;
    let bad_json = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "bad_json", message);
    if text.trim().is_empty() {
        return Err(bad_json("the body is empty; send {\"url\": \"http://HOST/PATH\"}".to_owned()));
    }
    let question =
        serde_json::from_str(&text).map_err(|error| bad_json(format!("the body is no JSON: {error}")))?;
    // of a key that stands twice one would be left out in silence
    Part::of(&text).and_then(|whole| whole.members()).map_err(|error| {
        let errors = vec![json!({ "field": error.key, "message": error.message })];
        ApiError { errors, ..bad_json(error.message) }
    })?;
    let backend = Arc::clone(&admin.shared.backend);
    let answer = tokio::task::spawn_blocking(move || backend.explain(question)).await.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "explaining failed; the log says more")
    })?;
    match answer {
        Ok(explanation) => Ok(Json(explanation).into_response()),
        Err(Unexplained::NoMemory(reason)) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason))
        }
        Err(Unexplained::Description(wrong)) => {
            let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", wrong.to_string());
            let error_of = |one: &DescriptionError| json!({ "field": one.field, "message": one.message });
            let errors = wrong.0.iter().map(error_of).collect();
            Err(ApiError { errors, ..error })
        }
    }
}

pub(super) async fn read_body(body: Body, limits: &AdminLimits, limit: usize) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(limits.body_timeout, axum::body::to_bytes(body, limit)).await;
    let read = read.map_err(|_| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in time")
    })?;
    read.map_err(|_| {
        let message = format!("the body is broken, or larger than {limit} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    })
}

async fn not_found() -> ApiError {
    let known =
        "/live, /ready, /status, /metrics, /v1/rules, /v1/rules/{id}, /v1/ip-lists, /v1/explain, /v1/reload";
    ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("no such endpoint; there are {known}"))
}

async fn wrong_method() -> ApiError {
    let message = "this endpoint doesn't know that method; the Allow header names what it knows";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

#[cfg(test)]
mod tests {
    use super::is_local_name;

    #[test]
    fn addresses_and_localhost_are_local_names() {
        for local in
            ["127.0.0.1", "127.0.0.1:9901", "localhost", "LOCALHOST:9901", "[::1]", "[::1]:9901", "10.1.2.3"]
        {
            assert!(is_local_name(local), "{local}");
        }
        for foreign in
            ["", "attacker.example", "127.0.0.1.attacker.example:9901", "localhost.attacker.example", "[::1"]
        {
            assert!(!is_local_name(foreign), "{foreign}");
        }
    }
}
