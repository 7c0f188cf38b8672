//! What the guard lets through, ldap-parser and ldap3 must read alike.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::agreement(bytes));
