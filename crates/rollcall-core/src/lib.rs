//! Pure domain of Rollcall: types and rules, no I/O.
