//! The values of controls come from the server too.
#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| rollcall_ldap::fuzzing::control_values(value));
