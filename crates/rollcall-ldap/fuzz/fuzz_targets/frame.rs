//! Finding the end of a message must neither panic nor accept more than the limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::frame(bytes));
