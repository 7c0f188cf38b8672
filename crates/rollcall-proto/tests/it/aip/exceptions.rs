//! `proto/api-linter.yaml`: as much YAML as it is written in.

use super::Finding;

/// A rule that need not hold within some files; without files, anywhere.
#[derive(Debug)]
pub(super) struct Exception {
    files: Vec<String>,
    pub(super) rule: String,
}

impl Exception {
    pub(super) fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && (self.files.is_empty() || self.files.contains(&finding.file))
    }
}

/// Each rule of each block. Panics at a line that is nothing of that.
pub(super) fn read() -> Vec<Exception> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/api-linter.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, blocks) = text.split_once("\n---\n").unwrap();
    let mut exceptions = Vec::new();
    for block in format!("\n{blocks}").split("\n- ").skip(1) {
        let (mut files, mut rules) = (Vec::new(), Vec::new());
        let mut are_rules = false;
        let lines = block.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match (line, line.strip_prefix("- ")) {
                ("included_paths:", _) => are_rules = false,
                ("disabled_rules:", _) => are_rules = true,
                (_, Some(entry)) if are_rules => rules.push(entry.trim_matches('"').to_owned()),
                (_, Some(entry)) => files.push(entry.trim_matches('"').to_owned()),
                _ => panic!("cannot read {line}"),
            }
        }
        assert!(!rules.is_empty(), "no rule in {block}");
        let with_files = |rule| Exception {
            files: files.clone(),
            rule,
        };
        exceptions.extend(rules.into_iter().map(with_files));
    }
    exceptions
}
