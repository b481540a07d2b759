//! The description of the API, made from the same tables that answer it.

use super::collection::{Attribute, Collection, Kind};
use super::container_images::IMAGES;
use super::providers::PROVIDERS;
use super::tasks::TASKS;
use axum::Json;
use serde_json::{Map, Value, json};

fn schema(attribute: &Attribute) -> Value {
    match attribute.kind {
        Kind::Text => json!({"type": ["string", "null"]}),
        Kind::Integer => json!({"type": ["integer", "null"]}),
        Kind::Boolean => json!({"type": ["boolean", "null"]}),
        Kind::Time => json!({"type": ["string", "null"], "format": "date-time"}),
        Kind::Document => json!({"description": "only when asked for by `attributes`"}),
    }
}

fn resource(collection: &Collection) -> Value {
    let mut properties = Map::new();
    properties.insert("href".into(), json!({"type": "string", "format": "uri"}));
    properties.insert("id".into(), json!({"type": "string"}));
    properties.extend(collection.attributes.iter().filter(|attribute| attribute.name != "id").map(|attribute| (attribute.name.to_owned(), schema(attribute))));
    json!({"type": "object", "required": ["href", "id"], "properties": properties})
}

fn query(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}})
}

fn list_parameters() -> Value {
    json!([
        query("expand", "`resources`: whole resources instead of their addresses"),
        query("attributes", "attributes beyond the default ones, joined by commas"),
        query(
            "filter[]",
            "name='value'; operators = != < <= > >= =~ !~; % and * are wildcards, [a,b] is a list, NULL; `or ` in front joins by OR; may be repeated"
        ),
        query("sort_by", "attributes, joined by commas"),
        query("sort_order", "`asc` or `desc`"),
        query("sort_options", "`ignore_case`"),
        query("offset", "how many resources to pass over"),
        query("limit", "at most 1000"),
    ])
}

fn answers(good: Value) -> Value {
    let error = json!({"description": "error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
    json!({"200": good, "400": error, "401": error, "403": error, "404": error, "409": error, "429": error})
}

fn content(schema: &str) -> Value {
    json!({"description": "done", "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}}})
}

fn action(summary: &str, answer: &str) -> Value {
    json!({
        "summary": summary,
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Action"}}}},
        "responses": answers(content(answer)),
    })
}

fn paths(collection: &Collection, on_many: Option<&str>, on_one: &str) -> [(String, Value); 2] {
    let mut many =
        json!({"get": {"summary": format!("List {}", collection.name), "parameters": list_parameters(), "responses": answers(content("Collection"))}});
    if let Some(summary) = on_many {
        many["post"] = action(summary, "Results");
    }
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    let one = json!({
        "parameters": [id],
        "get": {"summary": format!("One of {}", collection.name), "parameters": [query("attributes", "attributes beyond the default ones")], "responses": answers(content(collection.name))},
        "post": action(on_one, "Result"),
    });
    [(format!("/api/{}", collection.name), many), (format!("/api/{}/{{id}}", collection.name), one)]
}

/// `GET /api/openapi.json`: OpenAPI 3.1; needs no login.
pub(super) async fn document() -> Json<Value> {
    let mut all = Map::new();
    all.insert("/api".into(), json!({"get": {"summary": "Who calls, and the collections", "responses": {"200": {"description": "done"}}}}));
    all.extend(paths(
        &PROVIDERS,
        Some("`create` (name, kind, kubeconfig | endpoint + credentials.auth_key + certificate_authority) or `refresh`"),
        "`refresh` or `delete`",
    ));
    all.extend(paths(&IMAGES, Some("`scan` of all `resources`: one task"), "`scan`: answers with the task"));
    all.extend(paths(&TASKS, None, "`cancel`"));
    let result = json!({"type": "object", "properties": {
        "success": {"type": "boolean"}, "message": {"type": "string"}, "task_id": {"type": "string"}, "task_href": {"type": "string"}, "href": {"type": "string"}}});
    let mut schemas = json!({
        "Error": {"type": "object", "properties": {"error": {"type": "object", "properties": {
            "kind": {"type": "string"}, "message": {"type": "string"}, "klass": {"type": "string"}}}}},
        "Collection": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}, "subcount": {"type": "integer"},
            "subquery_count": {"type": "integer"}, "pages": {"type": "integer"}, "resources": {"type": "array", "items": {"type": "object"}}, "links": {"type": "object"}}},
        "Action": {"type": "object", "properties": {"action": {"type": "string"}, "resource": {"type": "object"},
            "resources": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}, "href": {"type": "string"}}}}}},
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
        "paths": all,
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}, "schemas": schemas},
    }))
}
