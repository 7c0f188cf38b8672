//! Filters as admins write them: what is taken can be sent.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::filter(bytes));
