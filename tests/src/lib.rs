//! A whole Rollcall for system tests: both binaries, a store and a real directory.
