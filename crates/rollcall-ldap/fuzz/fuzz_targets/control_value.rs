//! Values of controls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::control_value(bytes));
