//! Whatever the guard lets through, ldap3's decoding and our own must survive.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| rollcall_ldap::fuzzing::vet_and_decode(message));
