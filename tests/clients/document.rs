//! What docs/clients.md takes from here: the table, the service config and a listing for each language.

use anyhow::{Context, Result, ensure};

use crate::cases::Feature;
use crate::language::{Language, root, sources};

type Rows = [(Language, Vec<bool>)];

/// A line for each feature, a column for each language.
pub(crate) fn table(rows: &Rows) -> String {
    let names: Vec<&str> = rows.iter().map(|(language, _)| language.name()).collect();
    let mut text = format!(
        "| | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for (place, feature) in Feature::ALL.into_iter().enumerate() {
        let cells: Vec<&str> = rows
            .iter()
            .map(|(_, row)| if row[place] { "yes" } else { "NO" })
            .collect();
        text += &format!("| {} | {} |\n", feature.title(), cells.join(" | "));
    }
    text
}

/// Compares the table with the document's, once all languages were here.
pub(crate) fn holds_the_table(rows: &Rows) -> Result<()> {
    if rows.len() < Language::ALL.len() {
        return Ok(());
    }
    holds("table", &table(rows))
}

#[test]
fn the_document_shows_the_listings_that_the_programs_are_made_of() -> Result<()> {
    let config = std::fs::read_to_string(sources().join("service_config.json"))?;
    holds("service config", &format!("```json\n{config}```\n"))?;
    for language in Language::ALL {
        let listing = sources().join(language.id()).join(language.listing());
        let listing = std::fs::read_to_string(listing)?;
        let shown = format!(
            "<details>\n<summary>{}</summary>\n\n```{}\n{listing}```\n\n</details>\n",
            language.name(),
            language.markup()
        );
        holds(language.id(), &shown)?;
    }
    Ok(())
}

/// Compares a part of the document with what it should be, or writes it with `ROLLCALL_CLIENTS_TABLE=write`.
fn holds(part: &str, wanted: &str) -> Result<()> {
    let file = root().join("docs/clients.md");
    let document = std::fs::read_to_string(&file)?;
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let (before, rest) = document.split_once(&begin).context(begin.clone())?;
    let (shown, after) = rest.split_once(&end).context(end.clone())?;
    if shown == wanted {
        return Ok(());
    }
    if std::env::var_os("ROLLCALL_CLIENTS_TABLE").is_some_and(|how| how == "write") {
        std::fs::write(&file, format!("{before}{begin}{wanted}{end}{after}"))?;
        return Ok(());
    }
    ensure!(
        shown == wanted,
        "docs/clients.md shows another {part}; write it anew with ROLLCALL_CLIENTS_TABLE=write\n{wanted}"
    );
    Ok(())
}
