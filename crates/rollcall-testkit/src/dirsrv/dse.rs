use anyhow::{Result, bail};

/// Gives attributes of one entry these values and no others, in the text of a `dse.ldif`.
pub(super) fn set(text: &str, dn: &str, values: &[(&str, &str)]) -> Result<String> {
    let first_line = format!("dn: {dn}");
    let mut found = false;
    let mut entries = Vec::new();
    for entry in text.trim_end().split("\n\n") {
        if entry.lines().next() != Some(&first_line) {
            entries.push(entry.to_owned());
            continue;
        }
        found = true;
        let replaced = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            values
                .iter()
                .any(|(replaced, _)| replaced.eq_ignore_ascii_case(name))
        };
        let kept = entry.lines().filter(|line| !replaced(line)).map(str::to_owned);
        let added = values.iter().map(|(name, value)| format!("{name}: {value}"));
        entries.push(kept.chain(added).collect::<Vec<_>>().join("\n"));
    }
    match found {
        true => Ok(entries.join("\n\n") + "\n"),
        false => bail!("dse.ldif has no {dn}"),
    }
}
