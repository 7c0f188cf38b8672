//! Update masks (AIP-134): which fields of a resource a request changes.

use prost_types::FieldMask;
use rollcall_core::violation::Violations;

/// The fields to change: those of the mask; without a mask, those that are set.
pub(crate) fn paths(
    found: &mut Violations,
    mask: Option<FieldMask>,
    writable: &[&str],
    is_writable: impl Fn(&str) -> bool,
    populated: Vec<&'static str>,
) -> Vec<String> {
    let mask = mask.map(|mask| mask.paths).unwrap_or_default();
    if mask.is_empty() {
        return populated.into_iter().map(str::to_owned).collect();
    }
    if mask == ["*"] {
        return writable.iter().map(|field| (*field).to_owned()).collect();
    }
    for (index, path) in mask.iter().enumerate() {
        found.require(
            is_writable(path),
            format!("update_mask.paths[{index}]"),
            format!(
                "is no field that can be changed; these can: {}",
                writable.join(", ")
            ),
        );
    }
    mask
}
