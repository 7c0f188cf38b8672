//! The committed code is what the `.proto` files say. To renew it, and the pages about it, after a change of the contract:
//! `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto generated`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

const FILES: [&str; 2] = ["rollcall.v1.rs", "rollcall_descriptor.bin"];

/// Whether a developer asks for what is generated to be written.
#[expect(
    clippy::disallowed_methods,
    reason = "how a developer asks for the code to be renewed"
)]
pub(crate) fn is_to_be_renewed() -> bool {
    std::env::var_os("ROLLCALL_REGENERATE").is_some()
}

#[test]
fn generated_code_is_what_the_proto_files_say() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = crate_dir.join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    generate(&crate_dir.join("../../proto"), fresh.path());
    for file in FILES {
        let fresh = fs::read(fresh.path().join(file)).unwrap();
        if is_to_be_renewed() {
            fs::write(committed.join(file), &fresh).unwrap();
        }
        assert!(
            fs::read(committed.join(file)).unwrap_or_default() == fresh,
            "{file} is not what the .proto files say: run \
             `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto generated` and build again",
        );
    }
}

#[test]
fn every_message_with_a_secret_inside_is_found() {
    let descriptors = FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let found = secret_holders(&descriptors);
    for name in [
        "AuthenticateRequest",
        "Directory",
        "CreateDirectoryRequest",
        "UpdateDirectoryRequest",
        "ListDirectoriesResponse",
        "CheckConnectionRequest",
        "RotateBindPasswordRequest",
    ] {
        assert!(
            found.contains(&format!(".rollcall.v1.{name}")),
            "{name} is missing from {found:?}"
        );
    }
    assert!(!found.contains(".rollcall.v1.User"));
}

fn generate(proto_dir: &Path, out_dir: &Path) {
    let compiler = compiler(proto_dir);
    let descriptors = compiler.file_descriptor_set();
    fs::write(out_dir.join(FILES[1]), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        .skip_debug(paths_without_debug(&descriptors))
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .out_dir(out_dir)
        .compile_fds(descriptors)
        .unwrap();
}

/// A compiler that has read the contract with its comments.
pub(crate) fn compiler(proto_dir: &Path) -> protox::Compiler {
    let files = proto_files(&proto_dir.join("rollcall/v1"));
    let mut compiler = protox::Compiler::new([proto_dir]).unwrap();
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(&files)
        .unwrap();
    compiler
}

fn proto_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    files
}

/// A derived `Debug` would print secrets, so messages that hold one get none, nor do their oneofs.
fn paths_without_debug(descriptors: &FileDescriptorSet) -> Vec<String> {
    let holders = secret_holders(descriptors);
    let oneofs = messages(descriptors)
        .into_iter()
        .filter(|(name, _)| holders.contains(name))
        .flat_map(|(name, message)| {
            message
                .oneof_decl
                .iter()
                .map(move |oneof| format!("{name}.{}", oneof.name()))
        });
    let oneofs: Vec<_> = oneofs.collect();
    holders.into_iter().chain(oneofs).collect()
}

/// The messages with a secret field, and those that contain such a message.
fn secret_holders(descriptors: &FileDescriptorSet) -> BTreeSet<String> {
    let messages = messages(descriptors);
    let mut holders = BTreeSet::new();
    loop {
        let known = holders.len();
        for (name, message) in &messages {
            let holds = message.field.iter().any(|field| {
                let text = matches!(field.r#type(), Type::String | Type::Bytes);
                let secret = field.name().contains("password") || field.name().contains("private_key");
                text && secret || holders.contains(field.type_name())
            });
            if holds {
                holders.insert(name.clone());
            }
        }
        if holders.len() == known {
            return holders;
        }
    }
}

fn messages(descriptors: &FileDescriptorSet) -> Vec<(String, &DescriptorProto)> {
    let ours = descriptors
        .file
        .iter()
        .filter(|file| file.package() == "rollcall.v1");
    ours.flat_map(|file| &file.message_type)
        .map(|message| (format!(".rollcall.v1.{}", message.name()), message))
        .collect()
}
