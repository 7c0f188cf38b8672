//! A bind password that waits for the present one to be refused.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::secret::Password;

type Claiming = Pin<Box<dyn Future<Output = Option<Password>> + Send>>;
type Accepting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whoever keeps the password says whether it may be tried now, and hears if the directory has accepted it.
#[derive(Clone)]
pub struct NextPassword {
    claim: Arc<dyn Fn() -> Claiming + Send + Sync>,
    accept: Arc<dyn Fn() -> Accepting + Send + Sync>,
}

impl NextPassword {
    /// `claim` gives the password to try, once; `accept` hears that it is right.
    pub fn new(
        claim: impl Fn() -> Claiming + Send + Sync + 'static,
        accept: impl Fn() -> Accepting + Send + Sync + 'static,
    ) -> Self {
        Self {
            claim: Arc::new(claim),
            accept: Arc::new(accept),
        }
    }

    pub(crate) async fn claim(&self) -> Option<Password> {
        (self.claim)().await
    }

    pub(crate) async fn accept(&self) {
        (self.accept)().await;
    }
}

impl fmt::Debug for NextPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextPassword")
    }
}
