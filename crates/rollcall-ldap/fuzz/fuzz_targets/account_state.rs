//! Values that tell an account's state, times among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::account_state(bytes));
