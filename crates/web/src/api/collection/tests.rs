use super::*;
use crate::api::attribute::Kind;
use crate::api::params;
use crate::api::{container_images::IMAGES, providers::PROVIDERS, tasks::TASKS};
use sqlx::PgPool;

/// Names of all attributes, and of the fields of associations.
fn names(collection: &Collection) -> Vec<String> {
    let mut names = Vec::new();
    for attribute in collection.attributes {
        names.push(attribute.name.to_owned());
        if let Kind::One(fields) = attribute.kind {
            names.extend(fields.iter().map(|field| format!("{}.{}", attribute.name, field.name)));
        }
    }
    names
}

async fn ask(collection: &Collection, conn: &mut PgConnection, query: &str) -> Result<Json, ApiError> {
    collection.list(conn, "", &mut params::parse(query)?).await
}

/// The statements are not checked at compile time: this is where each expression meets the schema.
#[sqlx::test(migrator = "model::MIGRATOR")]
async fn every_attribute_of_every_collection_can_be_asked_for_filtered_and_sorted_by(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    for collection in [&IMAGES, &PROVIDERS, &TASKS] {
        let names = names(collection);
        assert_eq!(ask(collection, &mut conn, &format!("expand=resources&attributes={}", names.join(","))).await.unwrap()["count"], 0);
        for name in &names {
            let value = match collection.attribute(name).unwrap().kind {
                Kind::Integer => "7",
                Kind::Boolean => "true",
                Kind::Time => "2026-01-01T00:00:00Z",
                Kind::Text => "a%25",
                Kind::Json | Kind::One(_) | Kind::Many(_) => continue,
            };
            let query = format!("filter[]={name}='{value}'&filter[]=or {name}!=NULL&sort_by={name}&sort_order=desc&sort_options=ignore_case");
            let answer = ask(collection, &mut conn, &query).await;
            assert!(answer.is_ok(), "{}.{name}: {answer:?}", collection.name);
        }
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_a_collection_does_not_have_is_refused_by_name(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    for query in [
        "filter[]=colour='red'",
        "sort_by=colour",
        "expand=resources&attributes=colour",
        "expand=resources&attributes=counts.colours",
        "expand=resources&attributes=name.length",
        "filter[]=counts='1'",
        "filter[]=created_on='yesterday'",
        "filter[]=id>[1,2]",
        "filter[]=name<NULL",
        "filter[]=name=[]",
        "filter[]=name=~'('",
        "filter[]=name='%00'",
    ] {
        let answer = ask(&PROVIDERS, &mut conn, query).await;
        assert!(matches!(answer, Err(ApiError::BadRequest(_))), "{query}: {answer:?}");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_question_that_takes_too_long_is_the_callers_fault(pool: PgPool) {
    let mut tx = pool.begin().await.unwrap();
    bound(&mut tx, "20ms").await.unwrap();
    let error = sqlx::query("SELECT pg_sleep(60)").execute(&mut *tx).await.unwrap_err();
    assert!(matches!(ApiError::from(error), ApiError::BadRequest(text) if text.contains("too long")));
    drop(tx);
    let limit: String = sqlx::query_scalar("SHOW statement_timeout").fetch_one(&pool).await.unwrap();
    assert_ne!(limit, "20ms", "the bound ends with its transaction");
}
