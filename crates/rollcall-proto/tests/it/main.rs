//! Tests of the contract: the generated code, the conversions and the error mapping.
#![allow(clippy::unwrap_used, clippy::panic)]

mod generated_is_current;
