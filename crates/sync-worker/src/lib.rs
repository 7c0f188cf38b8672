//! The administrative and sync side of Rollcall.
