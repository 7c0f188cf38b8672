//! The bind account of a directory: its name, its password, and what is tried when the directory refuses the password.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_core::dialect::Dialect;
use rollcall_core::secret::Password;
use rollcall_core::verdict::is_password_refused;
use tokio::time::{Instant, timeout_at};

use crate::bind::BindAnswer;
use crate::config::DirectoryConfig;
use crate::connection::Connection;
use crate::error::{BindError, LdapError};
use crate::password_keeper::{AnotherPassword, PasswordKeeper, TriedPassword};
use crate::result_code::{ResultClass, ResultCode};

/// The bind account of one directory.
pub(crate) struct ServiceAccount {
    dn: String,
    password: Mutex<Arc<Password>>,
    keeper: Option<Arc<dyn PasswordKeeper>>,
    dialect: Option<Dialect>,
    operation_timeout: Duration,
    /// Held by the one connection that asks for another password. The others then find the password here.
    asking: tokio::sync::Mutex<()>,
}

impl ServiceAccount {
    pub(crate) fn of(config: &DirectoryConfig) -> Self {
        Self {
            dn: config.settings.bind_dn.clone(),
            password: Mutex::new(Arc::clone(&config.bind_password)),
            keeper: config.password_keeper.clone(),
            dialect: config.dialect,
            operation_timeout: config.settings.operation_timeout,
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn dn(&self) -> &str {
        &self.dn
    }

    pub(crate) fn password(&self) -> Arc<Password> {
        Arc::clone(&self.password.lock())
    }

    /// Binds a connection, if necessary with another password. Returns the connection with the last answer.
    pub(crate) async fn bind(
        self: &Arc<Self>,
        mut connection: Connection,
        with_password_policy: bool,
        deadline: Instant,
    ) -> Result<(Connection, BindAnswer), BindError> {
        let password = self.password();
        let deadline = deadline.min(Instant::now() + self.operation_timeout);
        let answer = connection
            .simple_bind(&self.dn, &password, with_password_policy, deadline)
            .await?;
        let Some(keeper) = self.keeper.clone() else {
            return Ok((connection, answer));
        };
        if !is_password_refused(self.dialect, answer.code.0, &answer.diagnostic) {
            return Ok((connection, answer));
        }
        // A task of its own: if the caller goes away, the result of the password that was tried must still be kept.
        let account = Arc::clone(self);
        let asking = tokio::spawn(async move {
            account
                .bind_with_another(keeper, connection, password, answer, with_password_policy)
                .await
        });
        match timeout_at(deadline, asking).await {
            Ok(Ok(bound)) => bound,
            Ok(Err(_)) | Err(_) => Err(BindError {
                error: LdapError::Timeout,
                unsent: false,
            }),
        }
    }

    async fn bind_with_another(
        &self,
        keeper: Arc<dyn PasswordKeeper>,
        mut connection: Connection,
        refused: Arc<Password>,
        answer: BindAnswer,
        with_password_policy: bool,
    ) -> Result<(Connection, BindAnswer), BindError> {
        let turn = self.asking.lock().await;
        let deadline = Instant::now() + self.operation_timeout;
        let found = self.password();
        let (password, pending) = if !Arc::ptr_eq(&found, &refused) {
            (found, false)
        } else {
            match keeper.another(refused).await {
                None => return Ok((connection, answer)),
                Some(AnotherPassword::Present(password)) => (Arc::new(password), false),
                Some(AnotherPassword::Pending(password)) => (Arc::new(password), true),
            }
        };
        if !pending {
            *self.password.lock() = Arc::clone(&password);
            drop(turn);
        }
        let bound = connection
            .simple_bind(&self.dn, &password, with_password_policy, deadline)
            .await;
        if pending {
            let outcome = outcome(&bound);
            if outcome == TriedPassword::Accepted {
                *self.password.lock() = Arc::clone(&password);
            }
            keeper.tried(password, outcome).await;
        }
        Ok((connection, bound?))
    }
}

fn outcome(bound: &Result<BindAnswer, BindError>) -> TriedPassword {
    match bound {
        Ok(answer) if answer.code == ResultCode::SUCCESS => TriedPassword::Accepted,
        Ok(answer) if answer.code.class() == ResultClass::Credentials => TriedPassword::Refused,
        Ok(answer) if answer.code.is_infrastructure() => TriedPassword::Unsent,
        Err(error) if error.unsent => TriedPassword::Unsent,
        Ok(_) | Err(_) => TriedPassword::Unknown,
    }
}
