//! One file per noun; each says its routes.

pub mod configuration;
pub mod containers;
pub mod images;
pub mod nodes;
pub mod openscap;
pub mod overview;
pub mod packages;
pub mod pods;
pub mod projects;
pub mod providers;
pub mod registries;
pub mod scans;
pub mod settings;
pub mod tasks;

use crate::error::Result;
use crate::list::List;
use sqlx::PgConnection;

/// Names on the chips of the filters by provider and by image, which the address has as numbers.
pub async fn provider_name(conn: &mut PgConnection, list: &mut List) -> Result<()> {
    if let Some(id) = list.filter_id("provider")
        && let Some(name) = sqlx::query_scalar!("SELECT name FROM providers WHERE id = $1", id).fetch_optional(&mut *conn).await?
    {
        list.name_chip("provider", name);
    }
    if let Some(id) = list.filter_id("image")
        && let Some(name) =
            sqlx::query_scalar!(r#"SELECT name || CASE WHEN tag = '' THEN '' ELSE ':' || tag END AS "name!" FROM container_images WHERE id = $1"#, id)
                .fetch_optional(&mut *conn)
                .await?
    {
        list.name_chip("image", name);
    }
    Ok(())
}
