//! The generated code, committed so that a build needs no generator. `tests/it/generated_is_current.rs` keeps it in step
//! with the `.proto` files.

/// The contract, package `rollcall.v1`: messages, enums, clients and servers.
///
/// Messages that hold a secret, and all that contain one, have no `Debug`.
#[allow(
    clippy::all,
    clippy::disallowed_methods,
    missing_docs,
    rustdoc::all,
    unreachable_pub
)]
pub mod v1 {
    include!("generated/rollcall.v1.rs");
}

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, with all imports and comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/rollcall_descriptor.bin");
