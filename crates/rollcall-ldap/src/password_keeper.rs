//! Where a directory's passwords are kept, as far as the code that binds has to know.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::secret::Password;

/// What a keeper will have done or found.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Keeps the passwords of a directory, for all who use it.
pub trait PasswordKeeper: Send + Sync {
    /// What to try after the directory has refused this one.
    fn another(&self, refused: Arc<Password>) -> Later<Option<AnotherPassword>>;

    /// Is told what became of a pending password that was tried.
    fn tried(&self, password: Arc<Password>, outcome: TriedPassword) -> Later<()>;
}

/// A password that may be right although another one was refused.
pub enum AnotherPassword {
    /// The present password, which has replaced the refused one already.
    Present(Password),
    /// A pending password. The caller that gets it tries it once, and tells the keeper the result.
    Pending(Password),
}

/// What became of a pending password that was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TriedPassword {
    /// It is right.
    Accepted,
    /// It is wrong.
    Refused,
    /// It was not sent, or the directory did not look at it.
    Unsent,
    /// Unknown: it was sent, and no answer came.
    Unknown,
}
