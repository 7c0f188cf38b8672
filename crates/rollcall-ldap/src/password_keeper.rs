//! Who keeps the passwords of a directory, as far as whoever binds has to know.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rollcall_core::secret::Password;

/// What a keeper will have done or found.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Keeps the passwords of a directory, for all who use it.
pub trait PasswordKeeper: Send + Sync {
    /// What to try where the directory has refused this one.
    fn another(&self, refused: Arc<Password>) -> Later<Option<AnotherPassword>>;

    /// Hears what became of a pending password that was tried.
    fn tried(&self, password: Arc<Password>, outcome: TriedPassword) -> Later<()>;
}

/// A password that may be right where another one was refused.
pub enum AnotherPassword {
    /// It has taken the other one's place already.
    Present(Password),
    /// It may take the other one's place. Whoever is given it tries it once, and tells the keeper.
    Pending(Password),
}

/// What became of a pending password that was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TriedPassword {
    /// It is right.
    Accepted,
    /// It is not.
    Refused,
    /// The directory did not look at it.
    Unsent,
    /// Nobody knows: it was sent, and no answer came.
    Unknown,
}
