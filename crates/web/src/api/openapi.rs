//! The description of the API, made from the same tables that answer it.

use super::attribute::{Attribute, Kind};
use super::collection::Collection;
use super::container_images::IMAGES;
use super::params::{LIMIT_HEAVY, LIMIT_MAX};
use super::providers::PROVIDERS;
use super::tasks::TASKS;
use axum::Json;
use serde_json::{Map, Value, json};

const ATTRIBUTES: &str =
    "joined by commas, `association.field` too: only these and id and href; those that are not shown without being asked for come beside the others";

/// The schema of an attribute's values.
fn schema(attribute: &Attribute) -> Value {
    match attribute.kind {
        Kind::Text => json!({"type": ["string", "null"]}),
        Kind::Integer => json!({"type": ["integer", "null"]}),
        Kind::Boolean => json!({"type": ["boolean", "null"]}),
        Kind::Time => json!({"type": ["string", "null"], "format": "date-time"}),
        Kind::Json => json!({"description": "any JSON"}),
        Kind::One(fields) => json!({"type": ["object", "null"], "properties": properties(fields)}),
        Kind::Many(fields) => json!({"type": "array", "items": {"type": "object", "properties": properties(fields)}}),
    }
}

fn properties(attributes: &[Attribute]) -> Map<String, Value> {
    attributes.iter().map(|attribute| (attribute.name.to_owned(), schema(attribute))).collect()
}

fn resource(collection: &Collection) -> Value {
    let mut all = properties(collection.attributes);
    for attribute in collection.attributes.iter().filter(|attribute| !attribute.default) {
        all[attribute.name]["description"] = match attribute.heavy {
            true => json!(format!("only when asked for by `attributes`; a list then gives at most {LIMIT_HEAVY} resources at a time")),
            false => json!("only when asked for by `attributes`"),
        };
    }
    all.insert("href".into(), json!({"type": "string", "format": "uri"}));
    all.insert("id".into(), json!({"type": "string"}));
    all.insert("actions".into(), json!({"type": "array", "items": {"$ref": "#/components/schemas/ActionLink"}}));
    json!({"type": "object", "required": ["href", "id"], "properties": all})
}

fn query(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}})
}

fn list_parameters() -> Value {
    json!([
        query("expand", "`resources`: whole resources instead of their addresses"),
        query("attributes", ATTRIBUTES),
        query(
            "filter[]",
            "name='value'; operators = != < <= > >= =~ !~; % and * are wildcards, [a,b] is a list, NULL; may be repeated: all plain ones together, or any one with `or ` in front"
        ),
        query("sort_by", "attributes, joined by commas"),
        query("sort_order", "`asc` or `desc` for each of `sort_by`, joined by commas"),
        query("sort_options", "`ignore_case`"),
        query("offset", "how many resources to pass over"),
        query("limit", &format!("at most {LIMIT_MAX}, and {LIMIT_HEAVY} with attributes that are large; `limit` of the answer says what was kept to")),
    ])
}

/// What any call may answer, and `more` beside it.
fn answers(good: Value, more: &[&str]) -> Value {
    let error = json!({"description": "error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
    let mut answers = json!({"200": good});
    for status in ["400", "401", "403", "404", "405", "429", "500", "503"].iter().chain(more) {
        answers[*status] = error.clone();
    }
    answers
}

fn content(schema: &str) -> Value {
    json!({"description": "done", "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}}})
}

fn action(summary: &str, answer: &str) -> Value {
    json!({
        "summary": summary,
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Action"}}}},
        "responses": answers(content(answer), &["409", "413", "415"]),
    })
}

fn paths(collection: &Collection, on_many: &str, on_one: &str) -> [(String, Value); 2] {
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    let list = json!({"summary": format!("List {}", collection.name), "parameters": list_parameters(), "responses": answers(content("Collection"), &[])});
    let show = json!({
        "summary": format!("One of {}", collection.name),
        "parameters": [query("attributes", ATTRIBUTES)],
        "responses": answers(content(collection.name), &[]),
    });
    [
        (format!("/api/{}", collection.name), json!({"get": list, "post": action(on_many, "Results")})),
        (format!("/api/{}/{{id}}", collection.name), json!({"parameters": [id], "get": show, "post": action(on_one, "Result")})),
    ]
}

fn all_paths() -> Map<String, Value> {
    let plain = json!({"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}});
    let mut all = Map::new();
    all.insert("/api".into(), json!({"get": {"summary": "Who calls, and the collections", "responses": answers(plain.clone(), &[])}}));
    all.insert("/api/openapi.json".into(), json!({"get": {"summary": "This document", "security": [], "responses": {"200": plain}}}));
    all.extend(paths(
        &PROVIDERS,
        "`create` (name, kind, kubeconfig | endpoint + credentials.auth_key + certificate_authority, shares_results) or `refresh`; all resources or none",
        "`refresh`, `edit` (shares_results: whether its results count for the same image at other providers), `pause`, `resume` or `delete`",
    ));
    all.extend(paths(&IMAGES, "`scan` of `resources`: for each its task", "`scan`: answers with the task"));
    all.extend(paths(&TASKS, "`cancel` of `resources`", "`cancel`"));
    all
}

/// `GET /api/openapi.json`: OpenAPI 3.1; needs no login.
pub(super) async fn document() -> Json<Value> {
    let result = json!({"type": "object", "properties": {
        "success": {"type": "boolean"}, "message": {"type": "string"}, "task_id": {"type": "string"}, "task_href": {"type": "string"},
        "parent_task_id": {"type": "string"}, "tasks": {"type": "array", "items": {"type": "object"}}, "href": {"type": "string"}}});
    let mut schemas = json!({
        "Error": {"type": "object", "properties": {"error": {"type": "object", "properties": {
            "kind": {"type": "string"}, "message": {"type": "string"}, "klass": {"type": "string"}}}}},
        "Collection": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}, "subcount": {"type": "integer"},
            "subquery_count": {"type": "integer"}, "pages": {"type": "integer"}, "offset": {"type": "integer"}, "limit": {"type": "integer"},
            "actions": {"type": "array", "items": {"$ref": "#/components/schemas/ActionLink"}}, "resources": {"type": "array", "items": {"type": "object"}}, "links": {"type": "object"}}},
        "Action": {"type": "object", "properties": {"action": {"type": "string"}, "resource": {"type": "object"},
            "resources": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}, "href": {"type": "string"}}}}}},
        "ActionLink": {"type": "object", "properties": {"name": {"type": "string"}, "method": {"type": "string"}, "href": {"type": "string"}}},
        "Result": result,
        "Results": {"type": "object", "properties": {"results": {"type": "array", "items": {"type": "object"}}}},
    });
    for collection in [&PROVIDERS, &IMAGES, &TASKS] {
        schemas[collection.name] = resource(collection);
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": {"title": "Tidewaiter", "version": env!("CARGO_PKG_VERSION"), "description": "In the shape of ManageIQ's REST API.", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{"basic": []}],
        "paths": all_paths(),
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}, "schemas": schemas},
    }))
}
