//! A row that a test adds to a dialect, to see that everybody who judges an account goes by the rows. Only builds with
//! debug assertions have it: no release can be told to judge otherwise than its source says.

use std::sync::OnceLock;

use super::Dialect;
use super::state::Reading;

type Rows = &'static [(&'static str, Reading)];

static ADDED: OnceLock<(Dialect, Rows)> = OnceLock::new();

/// The rows of a dialect that has one more than it was built with.
pub(super) fn rows(dialect: Dialect) -> Option<Rows> {
    let (changed, rows) = ADDED.get()?;
    (*changed == dialect).then_some(*rows)
}

impl Dialect {
    /// For this whole process from now on: such servers say by `TRUE` in this attribute that an account is disabled.
    /// False if a row was added before; there can be one.
    pub fn add_disabling_attribute(self, attribute: &'static str) -> bool {
        let mut rows = self.built_in_readings().to_vec();
        rows.push((attribute, Reading::DisabledIfTrue));
        ADDED.set((self, rows.leak())).is_ok()
    }
}
