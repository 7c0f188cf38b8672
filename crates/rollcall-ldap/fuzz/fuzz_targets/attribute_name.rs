//! Names of attributes, which may say which range of the values they bring.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rollcall_ldap::fuzzing::attribute_name(bytes));
