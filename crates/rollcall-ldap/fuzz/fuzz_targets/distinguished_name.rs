//! DNs as servers write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::distinguished_name(bytes));
