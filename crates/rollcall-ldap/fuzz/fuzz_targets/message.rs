//! Whatever the guard lets through, the decoding behind it must survive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::message(bytes));
