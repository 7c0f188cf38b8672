//! What real servers said, and random changes of it, through the entry points of the fuzz targets.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(kind);
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// One change of a message: an octet replaced, put in or taken out, or everything from there on cut off.
fn changed(mut bytes: Vec<u8>, changes: &[(Index, u8, u8)]) -> Vec<u8> {
    for (at, kind, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (byte % 8),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    prop::collection::vec((any::<Index>(), 0..5_u8, any::<u8>()), 1..4)
}

#[test]
fn everything_that_real_servers_said_passes_as_the_answer_to_one_kind_of_request() {
    let messages = seeds("messages");
    assert!(messages.len() > 20, "{} seeds", messages.len());
    for message in messages {
        assert_eq!(message_length(&message, 1 << 20), Ok(Some(message.len())));
        let fits = [Operation::Bind, Operation::Search, Operation::Extended]
            .into_iter()
            .filter(|operation| {
                let request = Request {
                    id: 2,
                    operation: *operation,
                };
                vet(&mut message.clone(), Some(request), 10_000).is_ok()
            });
        assert_eq!(fits.count(), 1, "{}", String::from_utf8_lossy(&message));
        vet_and_decode(&message);
    }
    for value in seeds("control_values") {
        control_values(&value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn changed_messages_of_real_servers_do_no_harm(message in select(seeds("messages")), changes in changes()) {
        let message = changed(message, &changes);
        frame(&message);
        vet_and_decode(&message);
    }

    #[test]
    fn changed_control_values_do_no_harm(value in select(seeds("control_values")), changes in changes()) {
        control_values(&changed(value, &changes));
    }
}
