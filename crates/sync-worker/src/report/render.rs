//! A report as plain text and as HTML. Everything that is not a constant here is escaped.

use std::fmt::Write;

use super::content::Content;

/// A report, ready to be sent.
#[derive(Debug)]
pub(super) struct Composed {
    /// One line.
    pub(super) subject: String,
    /// The plain text.
    pub(super) text: String,
    /// The same as a whole HTML document.
    pub(super) html: String,
}

impl Composed {
    pub(super) fn of(content: Content) -> Self {
        Self {
            text: text(&content),
            html: html(&content),
            subject: content.subject,
        }
    }
}

// Writing to a string cannot fail.

fn text(content: &Content) -> String {
    let mut out = format!("{}\n\n", content.headline);
    for (label, value) in &content.facts {
        _ = writeln!(out, "{label}: {value}");
    }
    for section in &content.sections {
        _ = write!(out, "\n{}\n", section.title);
        for item in &section.items {
            _ = writeln!(out, "- {}", item.text);
            for (label, value) in &item.details {
                _ = writeln!(out, "  {label}: {value}");
            }
        }
    }
    _ = write!(out, "\n{}\n", content.footer);
    out
}

fn html(content: &Content) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\n\
         <body style=\"font-family: sans-serif\">\n<h1 style=\"font-size: 1.2em\">{}</h1>\n<table>\n",
        escape(&content.subject),
        escape(&content.headline)
    );
    for (label, value) in &content.facts {
        _ = writeln!(
            out,
            "<tr><th align=\"left\">{}</th><td>{}</td></tr>",
            escape(label),
            escape(value)
        );
    }
    out.push_str("</table>\n");
    for section in &content.sections {
        _ = writeln!(
            out,
            "<h2 style=\"font-size: 1em\">{}</h2>\n<ul>",
            escape(&section.title)
        );
        for item in &section.items {
            _ = write!(out, "<li>{}", escape(&item.text));
            for (label, value) in &item.details {
                _ = write!(out, "<br><b>{}:</b> {}", escape(label), escape(value));
            }
            out.push_str("</li>\n");
        }
        out.push_str("</ul>\n");
    }
    _ = writeln!(
        out,
        "<p><small>{}</small></p>\n</body></html>",
        escape(&content.footer)
    );
    out
}

/// Text for an element's content.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
