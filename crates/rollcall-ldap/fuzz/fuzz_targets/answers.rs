//! The guard between two pipes: what the server sends, however it is cut, is let through or not.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::answers(bytes));
