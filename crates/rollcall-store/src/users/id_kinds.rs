//! Which kinds of ids the users of a directory have.

use rollcall_core::external_id::IdKind;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::id_choice::IdKindsInUse;

use crate::db::query::{column, scalar};
use crate::error::Result;
use crate::store::Store;

impl Store {
    /// Which of these kinds users of the directory have, and which most users of the sync, if there is one.
    pub async fn id_kinds_in_use(
        &self,
        tenant: &TenantId,
        directory: &DirectoryId,
        user_sync: Option<&UserSyncId>,
        candidates: &[IdKind],
    ) -> Result<IdKindsInUse> {
        let reader = &self.inner.database.reader;
        let mut in_use = IdKindsInUse::default();
        for kind in candidates {
            // By the index of ids: whether there is one costs the same with a million.
            let sql =
                "SELECT id_kind FROM users WHERE tenant = $1 AND directory = $2 AND id_kind = $3 LIMIT 1";
            let values = vec![
                tenant.as_str().into(),
                directory.as_str().into(),
                kind.attribute().into(),
            ];
            let found: Option<String> = scalar(reader, sql, values).await?;
            in_use.by_directory.extend(found.and(Some(kind.clone())));
        }
        let Some(user_sync) = user_sync.filter(|_| !in_use.by_directory.is_empty()) else {
            return Ok(in_use);
        };
        let values = vec![tenant.as_str().into(), user_sync.as_str().into()];
        let sql = match in_use.by_directory.len() {
            1 => "SELECT id_kind FROM users WHERE tenant = $1 AND user_sync = $2 LIMIT 1",
            _ => {
                "SELECT id_kind FROM users WHERE tenant = $1 AND user_sync = $2
                GROUP BY id_kind ORDER BY count(*) DESC, id_kind"
            }
        };
        let kinds: Vec<String> = column(reader, sql, values).await?;
        in_use.by_sync = kinds
            .iter()
            .filter_map(|kind| IdKind::of_attribute(kind))
            .find(|kind| candidates.contains(kind));
        Ok(in_use)
    }
}
