//! Values of controls, and Active Directory's reasons.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::control_value(bytes));
