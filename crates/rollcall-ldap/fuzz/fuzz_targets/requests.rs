//! The guard between two pipes: what ldap3 writes goes out in whole messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::requests(bytes));
