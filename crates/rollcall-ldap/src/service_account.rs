//! The bind account of a directory: its name, its password, and what is tried when the directory refuses the password.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_core::dialect::Dialect;
use rollcall_core::secret::Password;
use rollcall_core::verdict::is_password_refused;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use crate::bind::BindAnswer;
use crate::config::DirectoryConfig;
use crate::connection::Connection;
use crate::error::{BindError, LdapError};
use crate::password_keeper::{AnotherPassword, PasswordKeeper, TriedPassword};
use crate::refusal_memory::RefusalMemory;
use crate::result_code::{ResultClass, ResultCode};

/// How long binds wait for another one that goes on, from which they learn whether the password is refused. Then one of them
/// goes on beside it, since the other one may be at a host that does not answer.
const TURN: Duration = Duration::from_secs(2);

/// The bind account of one directory.
pub(crate) struct ServiceAccount {
    dn: String,
    password: Mutex<Arc<Password>>,
    keeper: Option<Arc<dyn PasswordKeeper>>,
    dialect: Option<Dialect>,
    operation_timeout: Duration,
    /// One connection finds out whether the directory takes the password; those that come meanwhile wait for that.
    turn: tokio::sync::Mutex<()>,
    /// The turn of the one that goes on when that took too long.
    second_turn: tokio::sync::Mutex<()>,
    said: Mutex<Said>,
    /// Held by the one connection that asks for another password. The others then find the password here.
    asking: tokio::sync::Mutex<()>,
}

/// What became of a bind as the service account.
pub(crate) struct ServiceBind {
    pub(crate) connection: Connection,
    pub(crate) answer: BindAnswer,
    /// The answer is that of another connection: on this one nothing was sent.
    pub(crate) shared: bool,
}

/// What the directory last said to a password.
#[derive(Default)]
enum Said {
    #[default]
    Nothing,
    Yes(Arc<Password>, Instant),
    No(Refusal),
}

/// The directory refused this password.
struct Refusal {
    password: Arc<Password>,
    answer: BindAnswer,
    memory: RefusalMemory,
    /// There is no other password either.
    lasts: bool,
}

impl ServiceAccount {
    pub(crate) fn of(config: &DirectoryConfig) -> Self {
        Self {
            dn: config.settings.bind_dn.clone(),
            password: Mutex::new(Arc::clone(&config.bind_password)),
            keeper: config.password_keeper.clone(),
            dialect: config.dialect,
            operation_timeout: config.settings.operation_timeout,
            turn: tokio::sync::Mutex::default(),
            second_turn: tokio::sync::Mutex::default(),
            said: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn dn(&self) -> &str {
        &self.dn
    }

    pub(crate) fn password(&self) -> Arc<Password> {
        Arc::clone(&self.password.lock())
    }

    /// Why nobody is let in at the moment: the directory has refused the password a while ago, and there is no other one.
    pub(crate) fn refusal(&self) -> Option<ResultCode> {
        let password = self.password();
        self.refused(&password)
            .and_then(|(answer, lasts)| lasts.then_some(answer.code))
    }

    /// Binds a connection, if necessary with another password. Returns the connection with the last answer.
    pub(crate) async fn bind(
        self: &Arc<Self>,
        connection: Connection,
        with_password_policy: bool,
        deadline: Instant,
    ) -> Result<ServiceBind, BindError> {
        let deadline = deadline.min(Instant::now() + self.operation_timeout);
        // A task of its own: if the caller goes away, the result of the password that was tried must still be kept.
        let account = Arc::clone(self);
        let binding = async move { account.bind_to_the_end(connection, with_password_policy).await };
        match timeout_at(deadline, tokio::spawn(binding.in_current_span())).await {
            Ok(Ok(bound)) => bound,
            Ok(Err(_)) | Err(_) => Err(BindError {
                error: LdapError::Timeout,
                unsent: false,
            }),
        }
    }

    async fn bind_to_the_end(
        &self,
        mut connection: Connection,
        with_password_policy: bool,
    ) -> Result<ServiceBind, BindError> {
        let mut is_second = false;
        loop {
            let (password, answer, shared) = self
                .bind_with_present(&mut connection, with_password_policy)
                .await?;
            let bound = ServiceBind {
                connection,
                answer,
                shared,
            };
            if bound.answer.code == ResultCode::SUCCESS {
                return Ok(bound);
            }
            let keeper = self
                .keeper
                .clone()
                .filter(|_| !is_second && self.is_password_refused(&bound.answer));
            let Some(keeper) = keeper else {
                self.refuse_for_a_while(&password);
                return Ok(bound);
            };
            let _asking = self.asking.lock().await;
            if Arc::ptr_eq(&self.password(), &password) {
                if self.refusal().is_some() {
                    return Ok(bound);
                }
                match keeper.another(Arc::clone(&password)).await {
                    None => {
                        self.refuse_for_a_while(&password);
                        return Ok(bound);
                    }
                    Some(AnotherPassword::Present(present)) => *self.password.lock() = Arc::new(present),
                    Some(AnotherPassword::Pending(pending)) => {
                        return self
                            .bind_with_pending(
                                &*keeper,
                                bound.connection,
                                &password,
                                pending,
                                with_password_policy,
                            )
                            .await;
                    }
                }
            }
            (connection, is_second) = (bound.connection, true);
        }
    }

    /// Binds with the present password. One that the directory has just refused is not sent again: however many connections
    /// are opened at once, it counts it once.
    async fn bind_with_present(
        &self,
        connection: &mut Connection,
        with_password_policy: bool,
    ) -> Result<(Arc<Password>, BindAnswer, bool), BindError> {
        let came = Instant::now();
        let turn = self.take_turn(came + self.operation_timeout).await?;
        let password = self.password();
        if let Some((answer, _)) = self.refused(&password) {
            return Ok((password, answer, true));
        }
        // Accepted while this one waited: the others need not wait for each other.
        let _turn = (!self.was_accepted_since(&password, came)).then_some(turn);
        let deadline = Instant::now() + self.operation_timeout;
        let answer = connection
            .simple_bind(&self.dn, &password, with_password_policy, deadline)
            .await?;
        self.note(&password, &answer);
        Ok((password, answer, false))
    }

    /// Waits until this connection may send the password. Two at most send it at a time, so that a directory that is slow to
    /// refuse it counts it twice at most.
    async fn take_turn(&self, deadline: Instant) -> Result<MutexGuard<'_, ()>, BindError> {
        if let Ok(turn) = timeout(TURN, self.turn.lock()).await {
            return Ok(turn);
        }
        let either = async {
            tokio::select! {
                turn = self.turn.lock() => turn,
                turn = self.second_turn.lock() => turn,
            }
        };
        timeout_at(deadline, either).await.map_err(|_| BindError {
            error: LdapError::Timeout,
            unsent: true,
        })
    }

    async fn bind_with_pending(
        &self,
        keeper: &dyn PasswordKeeper,
        mut connection: Connection,
        refused: &Arc<Password>,
        pending: Password,
        with_password_policy: bool,
    ) -> Result<ServiceBind, BindError> {
        let pending = Arc::new(pending);
        let deadline = Instant::now() + self.operation_timeout;
        let bound = connection
            .simple_bind(&self.dn, &pending, with_password_policy, deadline)
            .await;
        let outcome = outcome(&bound);
        match outcome {
            TriedPassword::Accepted => *self.password.lock() = Arc::clone(&pending),
            TriedPassword::Refused => self.refuse_for_a_while(refused),
            TriedPassword::Unsent | TriedPassword::Unknown => {}
        }
        keeper.tried(pending, outcome).await;
        Ok(ServiceBind {
            connection,
            answer: bound?,
            shared: false,
        })
    }

    /// Notes what the directory said to a password. Only a refusal is remembered: nothing else says that the next bind is in
    /// vain.
    pub(crate) fn note(&self, password: &Arc<Password>, answer: &BindAnswer) {
        let now = Instant::now();
        let mut said = self.said.lock();
        match answer.code.class() {
            ResultClass::Success => *said = Said::Yes(Arc::clone(password), now),
            ResultClass::Credentials => {
                let before = match &*said {
                    Said::No(refusal) if Arc::ptr_eq(&refusal.password, password) => Some(refusal.memory),
                    Said::No(_) | Said::Yes(..) | Said::Nothing => None,
                };
                // An account that is locked may be open again at any time, and the same password right.
                let before = before.filter(|_| self.is_password_refused(answer));
                *said = Said::No(Refusal {
                    password: Arc::clone(password),
                    answer: answer.clone(),
                    memory: RefusalMemory::after(before, now),
                    lasts: false,
                });
            }
            ResultClass::Truncated
            | ResultClass::Referral
            | ResultClass::Infrastructure
            | ResultClass::Configuration
            | ResultClass::NotFound
            | ResultClass::Access
            | ResultClass::Other => {}
        }
    }

    /// There is no other password than this one, which is refused.
    pub(crate) fn refuse_for_a_while(&self, password: &Arc<Password>) {
        if let Said::No(refusal) = &mut *self.said.lock()
            && Arc::ptr_eq(&refusal.password, password)
        {
            refusal.lasts = true;
        }
    }

    /// How this password was refused, as long as that is remembered, and whether there is no other one.
    fn refused(&self, password: &Arc<Password>) -> Option<(BindAnswer, bool)> {
        match &*self.said.lock() {
            Said::No(refusal)
                if Arc::ptr_eq(&refusal.password, password) && refusal.memory.holds(Instant::now()) =>
            {
                Some((refusal.answer.clone(), refusal.lasts))
            }
            Said::No(_) | Said::Yes(..) | Said::Nothing => None,
        }
    }

    fn was_accepted_since(&self, password: &Arc<Password>, time: Instant) -> bool {
        matches!(&*self.said.lock(), Said::Yes(accepted, when) if Arc::ptr_eq(accepted, password) && *when >= time)
    }

    fn is_password_refused(&self, answer: &BindAnswer) -> bool {
        is_password_refused(self.dialect, answer.code.0, &answer.diagnostic)
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
