//! What concerns the bind account itself.

use chrono::{DateTime, Utc};
use rollcall_core::dialect::Dialect;
use tokio::time::Instant;

use super::LdapDirectory;
use crate::error::LdapError;
use crate::own_account;
use crate::pool::PooledConnection;
use crate::root_dse::RootDse;

impl LdapDirectory {
    /// When the bind account's password expires; `None` if it never does, or the directory does not tell. One read where the
    /// account binds by its DN.
    ///
    /// # Errors
    /// No answer.
    pub async fn bind_password_expire_time(
        &self,
        dialect: Dialect,
        deadline: Instant,
    ) -> Result<Option<DateTime<Utc>>, LdapError> {
        let name = self.pools.account().dn();
        let root = match own_account::is_dn(name) {
            true => None,
            false => Some(self.root_dse(deadline).await?),
        };
        let root = root.as_ref();
        let mut pooled = self.service_connection(deadline).await?;
        let before = Instant::now();
        let mut expiry = read(&mut pooled, dialect, name, root, deadline).await;
        if expiry == Err(LdapError::ConnectionLost) {
            // The pooled connection was dead.
            pooled.reopen(deadline).await?;
            expiry = read(&mut pooled, dialect, name, root, deadline).await;
        }
        pooled.judge(before.elapsed(), expiry.as_ref().err());
        expiry
    }
}

async fn read(
    pooled: &mut PooledConnection,
    dialect: Dialect,
    bind_name: &str,
    root: Option<&RootDse>,
    deadline: Instant,
) -> Result<Option<DateTime<Utc>>, LdapError> {
    let connection = pooled.connection()?;
    let dn = match root {
        None => Some(bind_name.to_owned()),
        Some(root) => own_account::dn(connection, root, bind_name, deadline).await?,
    };
    match dn {
        Some(dn) => own_account::password_expiry(connection, dialect, &dn, deadline).await,
        None => Ok(None),
    }
}
