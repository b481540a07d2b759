//! A watch adds no more objects than a list may have.

use crate::ConnectError;
use crate::read::{Reader, Trouble};

/// How many objects may still be saved before the tables are counted again. Each saved one takes of it, though most are there already: a
/// count is due once in a while, and with every batch near the limit.
#[derive(Debug, Default)]
pub(super) struct Allowance(usize);

impl Allowance {
    /// Takes note of saved objects.
    ///
    /// # Errors
    /// There are more of a kind than `objects_max`, or the database failed.
    pub(super) async fn take(&mut self, reader: &Reader<'_>, saved: usize) -> Result<(), Trouble> {
        if let Some(left) = self.0.checked_sub(saved) {
            self.0 = left;
            return Ok(());
        }
        let most = reader.ctx.settings.objects_max;
        let stop = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        let found = sqlx::query!(
            r#"SELECT (SELECT COUNT(*) FROM (SELECT FROM projects WHERE provider_id = $1 AND archived_at IS NULL LIMIT $2) c) AS "projects!",
                      (SELECT COUNT(*) FROM (SELECT FROM nodes WHERE provider_id = $1 AND archived_at IS NULL LIMIT $2) c) AS "nodes!",
                      (SELECT COUNT(*) FROM (SELECT FROM pods WHERE provider_id = $1 AND archived_at IS NULL LIMIT $2) c) AS "pods!""#,
            reader.provider.0,
            stop
        )
        .fetch_one(&reader.ctx.pool)
        .await?;
        let counts = [("projects", found.projects), ("nodes", found.nodes), ("pods", found.pods)];
        let left = counts.map(|(kind, count)| most.checked_sub(usize::try_from(count).unwrap_or(usize::MAX)).ok_or(kind));
        self.0 = most;
        for left in left {
            let too_many = |kind| Trouble::Provider(ConnectError::too_large(&reader.server, &format!("more than {most} {kind}")));
            self.0 = self.0.min(left.map_err(too_many)?);
        }
        Ok(())
    }
}
