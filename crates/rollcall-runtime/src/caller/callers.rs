//! The callers that a server knows, and how each is recognised: by a bearer token, or by a client certificate.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use rollcall_core::error::Error;
use rollcall_metrics::Expiring;
use subtle::ConstantTimeEq;

use super::quota::Quota;
use super::{Caller, ROOM, Room, unauthenticated};
use crate::config::{CallerEntry, parse_sha256, parse_time};
use crate::expiry;

/// The callers that a server knows. Clones share them, even if they are replaced.
#[derive(Clone)]
pub(crate) struct Callers(Arc<RwLock<Arc<CallerList>>>);

enum CallerList {
    /// None is configured: every process that can connect is the local caller.
    Anyone(Arc<Caller>),
    Listed(Listed),
}

#[derive(Default)]
struct Listed {
    tokens: Vec<Token>,
    certificates: Vec<Certificate>,
    quotas: HashMap<String, Arc<Quota>>,
}

struct Token {
    sha256: [u8; 32],
    expire_time: Option<DateTime<Utc>>,
    caller: Arc<Caller>,
}

struct Certificate {
    name: String,
    caller: Arc<Caller>,
}

/// These callers would all be gone.
#[derive(Debug, thiserror::Error)]
#[error("no caller would be left, so that anybody could call: restart the service if that is meant")]
pub(crate) struct NobodyLeft;

impl Callers {
    /// Takes entries that the configuration found valid.
    pub(crate) fn new(entries: &[CallerEntry]) -> Self {
        let list = match entries {
            [] => CallerList::Anyone(Arc::new(Caller::local())),
            entries => CallerList::Listed(Listed::new(entries, &HashMap::new())),
        };
        Self(Arc::new(RwLock::new(Arc::new(list))))
    }

    /// Replaces the callers. What a caller has used of its quota still counts, unless its quota has changed.
    ///
    /// # Errors
    /// There were callers, and there would be none: that is more likely a file that is just being written than an
    /// intention.
    pub(crate) fn replace(&self, entries: &[CallerEntry]) -> Result<(), NobodyLeft> {
        let mut list = self.0.write();
        let next = match (&**list, entries) {
            (CallerList::Anyone(_), []) => return Ok(()),
            (CallerList::Listed(_), []) => return Err(NobodyLeft),
            (CallerList::Anyone(_), entries) => Listed::new(entries, &HashMap::new()),
            (CallerList::Listed(before), entries) => Listed::new(entries, &before.quotas),
        };
        *list = Arc::new(CallerList::Listed(next));
        Ok(())
    }

    /// Finds the caller by the `authorization` header if there is one, else by the names of the verified
    /// client certificate. A token that has ended is like any other wrong one.
    pub(crate) fn identify(
        &self,
        authorization: Option<&[u8]>,
        certificate_names: &[String],
        now: impl Fn() -> DateTime<Utc>,
    ) -> Result<Arc<Caller>, Error> {
        let list = Arc::clone(&self.0.read());
        let listed = match &*list {
            CallerList::Anyone(caller) => return Ok(Arc::clone(caller)),
            CallerList::Listed(listed) => listed,
        };
        let found = match authorization {
            Some(header) => bearer_token(header).and_then(|token| listed.by_token(token, now)),
            None => listed.by_certificate(certificate_names),
        };
        found.cloned().ok_or_else(unauthenticated)
    }
}

impl Listed {
    fn new(entries: &[CallerEntry], quotas: &HashMap<String, Arc<Quota>>) -> Self {
        let tokens = entries.iter().flat_map(|entry| &entry.tokens);
        expiry::note(
            Expiring::CallerToken,
            tokens.filter_map(|token| parse_time(&token.expire_time)),
        );
        let mut listed = Self::default();
        for entry in entries {
            let quota = Quota::new(entry.requests_per_second, entry.burst).map(|quota| {
                match quotas.get(&entry.name) {
                    Some(before) if before.allows_the_same_as(&quota) => Arc::clone(before),
                    _ => Arc::new(quota),
                }
            });
            if let Some(quota) = &quota {
                listed.quotas.insert(entry.name.clone(), Arc::clone(quota));
            }
            listed.add(entry, quota.as_ref());
        }
        listed
    }

    fn add(&mut self, entry: &CallerEntry, quota: Option<&Arc<Quota>>) {
        let room = Room::new(ROOM);
        let having_shown =
            |credential: String| Arc::new(Caller::new(entry, credential, quota.cloned(), room.clone()));
        let one = ("token".to_owned(), &entry.token_sha256, "");
        let several = entry.tokens.iter().map(|token| {
            let credential = format!("token:{}", token.id);
            (credential, &token.sha256, token.expire_time.as_str())
        });
        for (credential, sha256, expire_time) in std::iter::once(one).chain(several) {
            if let Some(sha256) = parse_sha256(sha256) {
                self.tokens.push(Token {
                    sha256,
                    expire_time: parse_time(expire_time),
                    caller: having_shown(credential),
                });
            }
        }
        if !entry.certificate_name.is_empty() {
            self.certificates.push(Certificate {
                name: entry.certificate_name.clone(),
                caller: having_shown(format!("certificate:{}", entry.certificate_name)),
            });
        }
    }

    /// Compares with every token, so that the time does not tell where a match is.
    fn by_token(&self, token: &[u8], now: impl Fn() -> DateTime<Utc>) -> Option<&Arc<Caller>> {
        let digest = ring::digest::digest(&ring::digest::SHA256, token);
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.sha256.as_slice().ct_eq(digest.as_ref())) {
                found = Some(token);
            }
        }
        let Token {
            expire_time, caller, ..
        } = found?;
        if expire_time.is_some_and(|end| now() >= end) {
            let (name, credential) = (caller.name(), caller.credential());
            tracing::info!(
                caller.name = name,
                caller.credential = credential,
                "a token is used that has ended"
            );
            return None;
        }
        Some(caller)
    }

    fn by_certificate(&self, names: &[String]) -> Option<&Arc<Caller>> {
        let mut certificates = self.certificates.iter();
        let found = certificates.find(|certificate| names.contains(&certificate.name))?;
        Some(&found.caller)
    }
}

fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}
