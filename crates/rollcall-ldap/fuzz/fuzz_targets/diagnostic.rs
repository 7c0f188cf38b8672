//! The text of a bind's answer, with Active Directory's reason in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::diagnostic(bytes));
