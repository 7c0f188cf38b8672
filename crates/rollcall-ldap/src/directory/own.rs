//! What concerns the bind account itself.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::LdapDirectory;
use crate::error::LdapError;
use crate::own_account;
use crate::pool::Role;

impl LdapDirectory {
    /// When the bind account's password expires; `None` if it never does, or the directory does not tell.
    ///
    /// # Errors
    /// No answer.
    pub async fn bind_password_expire_time(
        &self,
        deadline: Instant,
    ) -> Result<Option<DateTime<Utc>>, LdapError> {
        let root = self.root_dse(deadline).await?;
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            let mut pooled = match self.pools.connection(host, Role::Service, deadline).await {
                Ok(pooled) => pooled,
                Err(error) if error.is_host_failure() && Instant::now() < deadline => {
                    last = error;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let connection = pooled.connection()?;
            return own_account::password_expiry(connection, &root, self.pools.bind_dn(), deadline).await;
        }
        Err(last)
    }
}
