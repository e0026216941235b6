//! `/v1/rules` and `/v1/ip-lists`: the rules and lists in force, and changes of them.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::admin::{Admin, App, read_body};
use super::answers::ApiError;
use super::changes::{Answer, Changed, EntryChoice, ListsChange, Page, Refused, RulesChange, Wrong};
use super::query::{self, Query};

/// Entries in an answer unless `limit` says otherwise.
const PAGE_LIMIT: usize = 10_000;
/// The most that `limit` may say.
const PAGE_LIMIT_MAX: usize = 1_000_000;
/// Errors in an answer.
const ERRORS_MAX: usize = 100;
/// Warnings in an answer.
const WARNINGS_MAX: usize = 20;

/// The endpoints of rules and lists.
pub(super) fn routes() -> Router<Arc<Admin>> {
    let all: MethodRouter<Arc<Admin>> =
        get(get_rules).put(put_rules).post(post_rule).patch(patch_rules).delete(delete_rules);
    let one = get(get_rule).put(put_rule).delete(delete_rule);
    let lists = get(get_lists).put(put_lists).post(post_lists).delete(delete_lists);
    Router::new().route("/v1/rules", all).route("/v1/rules/{id}", one).route("/v1/ip-lists", lists)
}

async fn get_rules(State(admin): App, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    query::refuse_any(query.as_deref())?;
    let answer = blocking(&admin, |admin| admin.shared.backend.rules()).await?;
    Ok(show(answer))
}

async fn get_rule(
    State(admin): App,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let id = read_id(&id)?;
    query::refuse_any(query.as_deref())?;
    let answer = blocking(&admin, move |admin| admin.shared.backend.rule(id)).await?;
    answer.map(show).ok_or_else(|| refusal(Refused::NotFound(format!("there is no rule {id}"))))
}

async fn put_rules(State(admin): App, request: Request) -> Result<Response, ApiError> {
    query::refuse_any(request.uri().query())?;
    let (sent, tags) = read_json(&admin, request).await?;
    let changed = change_rules(&admin, RulesChange::PutAll(sent.text), tags).await?;
    Ok(answer(StatusCode::OK, &changed, json!({ "rule_count": changed.total })))
}

async fn patch_rules(State(admin): App, request: Request) -> Result<Response, ApiError> {
    query::refuse_any(request.uri().query())?;
    let (sent, tags) = read_json(&admin, request).await?;
    let changed = change_rules(&admin, RulesChange::SetGeneralMode(sent.text), tags).await?;
    Ok(answer(StatusCode::OK, &changed, json!({ "rule_count": changed.total })))
}

async fn post_rule(State(admin): App, request: Request) -> Result<Response, ApiError> {
    query::refuse_any(request.uri().query())?;
    let (sent, tags) = read_json(&admin, request).await?;
    let changed = change_rules(&admin, RulesChange::Add(sent.text), tags).await?;
    Ok(answer_with_rule(&changed))
}

async fn put_rule(State(admin): App, Path(id): Path<String>, request: Request) -> Result<Response, ApiError> {
    let id = read_id(&id)?;
    query::refuse_any(request.uri().query())?;
    let (sent, tags) = read_json(&admin, request).await?;
    let changed = change_rules(&admin, RulesChange::Put(id, sent.text), tags).await?;
    Ok(answer_with_rule(&changed))
}

async fn delete_rules(
    State(admin): App,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut query = Query::read(query.as_deref(), &["only"]);
    let only_api = query.only_api();
    query.finish()?;
    if !only_api {
        let message = "say ?only=api to give up every change of the API, or PUT an empty list of rules";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message));
    }
    let changed = change_rules(&admin, RulesChange::GiveUpAll, tags_of(&headers)).await?;
    Ok(answer(StatusCode::OK, &changed, json!({ "deleted": changed.count, "rule_count": changed.total })))
}

async fn delete_rule(
    State(admin): App,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = read_id(&id)?;
    let mut query = Query::read(query.as_deref(), &["only"]);
    let only_api = query.only_api();
    query.finish()?;
    let change = if only_api { RulesChange::GiveUp(id) } else { RulesChange::Remove(id) };
    let changed = change_rules(&admin, change, tags_of(&headers)).await?;
    Ok(answer(StatusCode::OK, &changed, json!({ "id": id, "rule_count": changed.total })))
}

async fn get_lists(State(admin): App, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::read(
        query.as_deref(),
        &["list", "address", "country", "datacenter", "proxy", "covers", "source", "offset", "limit"],
    );
    let choice = query.choice();
    let page = Page {
        offset: query.number("offset", 0, 0..=usize::MAX),
        // (with 0 there would always be a next part)
        limit: query.number("limit", PAGE_LIMIT, 1..=PAGE_LIMIT_MAX),
    };
    query.finish()?;
    Ok(show(blocking(&admin, move |admin| admin.shared.backend.ip_lists(&choice, page)).await?))
}

async fn put_lists(State(admin): App, request: Request) -> Result<Response, ApiError> {
    query::refuse_any(request.uri().query())?;
    let (sent, tags) = read_json(&admin, request).await?;
    let changed = change_lists(&admin, ListsChange::PutAll(sent.text), tags).await?;
    Ok(answer(StatusCode::OK, &changed, json!({ "entry_count": changed.total })))
}

async fn post_lists(State(admin): App, request: Request) -> Result<Response, ApiError> {
    query::refuse_any(request.uri().query())?;
    let (sent, tags) = read_json(&admin, request).await?;
    let changed = change_lists(&admin, ListsChange::Add(sent.text), tags).await?;
    let body = json!({ "added": changed.count, "entry_count": changed.total });
    Ok(answer(StatusCode::CREATED, &changed, body))
}

async fn delete_lists(
    State(admin): App,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ApiError> {
    let known = ["list", "address", "country", "datacenter", "proxy", "only"];
    let mut query = Query::read(query.as_deref(), &known);
    let only_api = query.only_api();
    let choice = query.choice();
    query.finish()?;
    let (sent, tags) = read_json(&admin, request).await?;
    let change = match (sent.text.trim().is_empty(), choice == EntryChoice::default(), only_api) {
        (true, true, false) => {
            let message = "say which entries: ?list=LIST&address=ADDRESS, or a body with the entries; \
                           ?only=api alone gives up every change of the API";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message));
        }
        (true, _, true) => ListsChange::GiveUp(choice),
        (true, false, false) => ListsChange::Remove(choice),
        (false, true, false) => ListsChange::RemoveThese(sent.text),
        (false, ..) => {
            let message = "name the entries either in the query or in the body";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message));
        }
    };
    let changed = change_lists(&admin, change, tags).await?;
    Ok(answer(StatusCode::OK, &changed, json!({ "deleted": changed.count, "entry_count": changed.total })))
}

async fn change_rules(
    admin: &Arc<Admin>,
    change: RulesChange,
    tags: Option<String>,
) -> Result<Changed, ApiError> {
    let changed =
        blocking(admin, move |admin| admin.shared.backend.change_rules(change, tags.as_deref())).await?;
    finish("rules", changed)
}

async fn change_lists(
    admin: &Arc<Admin>,
    change: ListsChange,
    tags: Option<String>,
) -> Result<Changed, ApiError> {
    let changed =
        blocking(admin, move |admin| admin.shared.backend.change_ip_lists(change, tags.as_deref())).await?;
    finish("IP lists", changed)
}

/// Says in the log how a change went.
fn finish(what: &str, outcome: Result<Changed, Refused>) -> Result<Changed, ApiError> {
    match outcome {
        Ok(changed) => {
            tracing::info!(generation = changed.generation, "{what} were changed over the admin API");
            Ok(changed)
        }
        Err(refused) => {
            if let Refused::NoRoom(reason) | Refused::Unavailable(reason) = &refused {
                tracing::error!(reason, "{what} could not be changed over the admin API");
            }
            Err(refusal(refused))
        }
    }
}

/// Runs what may take long apart from the control thread, so that health checks are answered meanwhile.
async fn blocking<T: Send + 'static>(
    admin: &Arc<Admin>,
    work: impl FnOnce(&Admin) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let admin = Arc::clone(admin);
    tokio::task::spawn_blocking(move || work(&admin)).await.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this failed; the log says more")
    })
}

/// The body of a change as text, and the tags of `If-Match`.
async fn read_json(admin: &Admin, request: Request) -> Result<(Sent, Option<String>), ApiError> {
    let limit = admin.limits.change_bytes;
    judge_head(request.headers(), limit)?;
    let tags = tags_of(request.headers());
    // The semaphore is never closed.
    let place = Arc::clone(&admin.changes).acquire_owned().await.ok();
    let text = read_text(admin, request, limit).await?;
    Ok((Sent { text, _place: place }, tags))
}

/// A body of JSON as text.
pub(super) async fn read_text(admin: &Admin, request: Request, limit: usize) -> Result<String, ApiError> {
    judge_head(request.headers(), limit)?;
    let bytes = read_body(request.into_body(), &admin.limits, limit).await?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("the body is no JSON: byte {at} is not UTF-8");
        ApiError::new(StatusCode::BAD_REQUEST, "bad_json", message)
    })
}

/// Refuses a body that says of itself to be no JSON, or too large.
fn judge_head(headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
    refuse_other_types(headers)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > limit => {
            let message = format!(
                "the body has {length} bytes, {limit} are the most that is taken here; use a file, or send it in parts"
            );
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        }
        _ => Ok(()),
    }
}

/// A body, and the place among those that may be there at the same time.
struct Sent {
    text: String,
    _place: Option<OwnedSemaphorePermit>,
}

/// What says of itself to be no JSON is refused. What curl and others say of every body unless told otherwise isn't
/// believed.
fn refuse_other_types(headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |found: &str| {
        let message = format!("found {found}; send Content-Type: application/json, not encoded");
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
        return refuse(&format!("Content-Encoding: {}", String::from_utf8_lossy(encoding.as_bytes())));
    }
    let Some(found) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let found = String::from_utf8_lossy(found.as_bytes());
    let name = found.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_json = name == "application/json" || (name.starts_with("application/") && name.ends_with("+json"));
    if is_json || name == "application/x-www-form-urlencoded" {
        return Ok(());
    }
    refuse(&format!("Content-Type: {found}"))
}

fn tags_of(headers: &HeaderMap) -> Option<String> {
    let tags: Vec<_> =
        headers.get_all(header::IF_MATCH).iter().map(|tag| String::from_utf8_lossy(tag.as_bytes())).collect();
    if tags.is_empty() { None } else { Some(tags.join(",")) }
}

fn read_id(text: &str) -> Result<u64, ApiError> {
    let id = text.parse::<u64>().ok().filter(|id| *id > 0 && i64::try_from(*id).is_ok());
    id.ok_or_else(|| {
        let allowed = format!("the id of a rule, a whole number from 1 to {}", i64::MAX);
        let message = format!("found {text:?} in the path, allowed is {allowed}");
        let errors = vec![json!({ "field": "id", "message": message })];
        ApiError { errors, ..ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("id: {message}")) }
    })
}

fn show(Answer { body, tag }: Answer) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    set_tag(&mut response, &tag);
    response
}

fn set_tag(response: &mut Response, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// What is answered to a change that was made.
fn answer(status: StatusCode, changed: &Changed, mut body: Value) -> Response {
    body["generation"] = json!(changed.generation);
    body["warnings"] = changed.warnings.iter().take(WARNINGS_MAX).cloned().collect();
    // Stored, and on its way to a worker that is busy.
    let status = if changed.in_force { status } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(body)).into_response();
    set_tag(&mut response, &changed.tag);
    response
}

fn answer_with_rule(changed: &Changed) -> Response {
    let Some((id, rule)) = &changed.rule else { return answer(StatusCode::OK, changed, json!({})) };
    let rule: Value = serde_json::from_str(rule).unwrap_or_default();
    let status = if changed.created { StatusCode::CREATED } else { StatusCode::OK };
    let body = json!({ "id": id, "rule": rule, "rule_count": changed.total });
    let mut response = answer(status, changed, body);
    if let (true, Ok(location)) = (changed.created, HeaderValue::from_str(&format!("/v1/rules/{id}"))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A refusal as an answer.
fn refusal(refused: Refused) -> ApiError {
    let error = |status, code, message: String| ApiError::new(status, code, message);
    match refused {
        Refused::Invalid(wrong) => {
            let more = wrong.len().saturating_sub(1);
            let first = wrong.first().map_or_else(|| "nothing can be read".to_owned(), Wrong::to_string);
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            let errors = wrong.iter().take(ERRORS_MAX).map(wrong_json).collect();
            let message = format!("refused, nothing has changed: {first}{more}");
            ApiError { errors, ..error(StatusCode::BAD_REQUEST, "invalid", message) }
        }
        Refused::NotFound(reason) => error(StatusCode::NOT_FOUND, "not_found", reason),
        Refused::Conflict(reason) => error(StatusCode::CONFLICT, "conflict", reason),
        Refused::Stale(tag) => {
            let message =
                format!("this was made for another version, {tag} is in force now: get it and try again");
            error(StatusCode::PRECONDITION_FAILED, "stale", message)
        }
        Refused::TooMany(reason) => error(StatusCode::UNPROCESSABLE_ENTITY, "too_many", reason),
        Refused::NoRoom(reason) => error(StatusCode::INSUFFICIENT_STORAGE, "no_room", reason),
        Refused::Unavailable(reason) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason),
    }
}

fn wrong_json(wrong: &Wrong) -> Value {
    let mut json = json!({ "field": wrong.field, "message": wrong.message });
    if !wrong.advice.is_empty() {
        json["advice"] = json!(wrong.advice);
    }
    if let Some((line, column)) = wrong.position {
        json["line"] = json!(line);
        json["column"] = json!(column);
    }
    json
}
