//! What the machine or the container gives this process. What the configuration asks for beyond that is told at the start and by
//! `--check-config`, before it runs short. How many connections PostgreSQL gives is asked when the store is opened.

use crate::config::Shared;
use crate::descriptors::Descriptors;
use crate::exit::Failure;
use crate::memory;

/// Takes as many descriptors as this process may have, and logs what is too little.
///
/// # Errors
/// There are too few descriptors to work with.
pub fn check(config: &Shared) -> Result<(), Failure> {
    Descriptors::raise()?.tell(config);
    memory::tell();
    Ok(())
}
