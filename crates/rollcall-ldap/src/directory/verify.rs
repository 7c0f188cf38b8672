//! Password checks: binds, on connections that do nothing else.

use rollcall_core::entry::Entry;
use rollcall_core::secret::Password;
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use super::LdapDirectory;
use super::search::ReadRequest;
use crate::bind::BindAnswer;
use crate::connection::Query;
use crate::error::{BindError, LdapError};
use crate::guid_bind::BindAs;
use crate::measure;
use crate::pool::{PooledConnection, Pools, Role};

/// What a password check and the read that goes with it brought.
#[derive(Debug)]
pub struct Verification {
    /// The answer to the bind.
    pub bind: Result<BindAnswer, BindError>,
    /// The bind was by id, so its answer is about the person, wherever the entry is.
    pub by_id: bool,
    /// The entry; `None` if there is none at that DN, or it does not match.
    pub read: Result<Option<Entry>, LdapError>,
}

impl LdapDirectory {
    /// Checks a password by a simple bind and reads the entry, both at once and on the same host. The bind goes over a
    /// connection that does nothing but binds. At most one bind reaches any server: the next host is tried only if nothing of
    /// the bind was sent, which [`BindError::unsent`] says.
    pub async fn verify_and_read<'a>(
        &self,
        who: impl Into<BindAs<'a>>,
        password: &Password,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Verification {
        let who = who.into();
        let failed = |error: LdapError| Verification {
            bind: Err(BindError {
                error: error.clone(),
                unsent: true,
            }),
            by_id: false,
            read: Err(error),
        };
        let query = match self.read_query(request, deadline).await {
            Ok(query) => query,
            Err(error) => return failed(error),
        };
        let mut last = failed(LdapError::CircuitOpen);
        for host in self.pools.admitted() {
            let (name, by_id) = self.pools.bind_name(host, who, deadline).await;
            // Both connections are taken first, so that a host that cannot do the read never sees the bind.
            let both = tokio::try_join!(
                self.pools.connection(host, Role::Service, deadline),
                self.pools.connection(host, Role::Bind, deadline),
            );
            let (mut service, mut bind) = match both {
                Ok(both) => both,
                Err(error) if error.is_host_failure() && Instant::now() < deadline => {
                    last = failed(error);
                    continue;
                }
                Err(error) => return failed(error),
            };
            let (bind, read) = tokio::join!(
                self.pools.bind_with(&mut bind, &name, password, deadline),
                self.pools.read_with(&mut service, &query, deadline),
            );
            match bind {
                Err(error) if error.unsent && error.error.is_host_failure() && Instant::now() < deadline => {
                    last = Verification {
                        bind: Err(error),
                        by_id,
                        read,
                    };
                }
                bind => return Verification { bind, by_id, read },
            }
        }
        last
    }

    /// Finds out whether a password check would get an answer now: takes the same connections, and asks for no
    /// attribute of the root DSE (RFC 4512 section 5.1).
    ///
    /// # Errors
    /// No answer; [`BindError::unsent`] says whether a bind would have been on its way by then.
    pub async fn reach(&self, deadline: Instant) -> Result<(), BindError> {
        let query = Query {
            base: String::new(),
            scope: SearchScope::Base,
            filter: "(objectClass=*)".to_owned(),
            // No attributes (RFC 4511 section 4.5.1.8).
            attributes: vec!["1.1".to_owned()],
            size_limit: 0,
        };
        let mut last = BindError {
            error: LdapError::CircuitOpen,
            unsent: true,
        };
        for host in self.pools.admitted() {
            let both = tokio::try_join!(
                self.pools.connection(host, Role::Service, deadline),
                self.pools.connection(host, Role::Bind, deadline),
            );
            let failure = match both {
                Ok((mut service, _bind)) => {
                    match self.pools.read_with(&mut service, &query, deadline).await {
                        Ok(_) => return Ok(()),
                        // A refusal is an answer too.
                        Err(LdapError::SearchRefused(code)) if !code.is_infrastructure() => return Ok(()),
                        Err(error) => BindError {
                            unsent: !matches!(
                                error,
                                LdapError::Timeout
                                    | LdapError::ConnectionLost
                                    | LdapError::Disconnected(_)
                                    | LdapError::Protocol(_)
                            ),
                            error,
                        },
                    }
                }
                Err(error) => BindError { error, unsent: true },
            };
            if !failure.unsent || !failure.error.is_host_failure() || Instant::now() >= deadline {
                return Err(failure);
            }
            last = failure;
        }
        Err(last)
    }
}

impl Pools {
    async fn bind_with(
        &self,
        pooled: &mut PooledConnection,
        name: &str,
        password: &Password,
        deadline: Instant,
    ) -> Result<BindAnswer, BindError> {
        let before = Instant::now();
        if deadline <= before {
            // The caller may already have answered that nothing was sent.
            return Err(BindError {
                error: LdapError::Timeout,
                unsent: true,
            });
        }
        let deadline = deadline.min(before + self.operation_timeout);
        let pooled_host = pooled.host;
        let policy = self
            .dialect
            .is_none_or(|dialect| dialect.row().takes_password_policy);
        let connection = pooled
            .connection()
            .map_err(|error| BindError { error, unsent: true })?;
        let span = tracing::info_span!(target: "rollcall_trace", "ldap.bind", host = pooled_host, ldap.result = Empty);
        let binding = connection.simple_bind(name, password, policy, deadline);
        let answer = Box::pin(binding).instrument(span.clone()).await;
        if let Ok(answer) = &answer {
            span.record("ldap.result", answer.code.0);
        }
        let (host, took) = (&self.endpoint.hosts[pooled_host], before.elapsed());
        match &answer {
            Ok(answer) => tracing::debug!(%host, ?took, result = answer.code.0, "a password was tried"),
            Err(BindError { error, unsent }) => {
                tracing::debug!(%host, ?took, %error, unsent, "a password was not answered");
            }
        }
        measure::count_bind(before, &answer);
        self.judge(
            pooled.host,
            before,
            answer.as_ref().err().map(|error| &error.error),
        );
        answer
    }
}
