//! Reports that wait to be sent: lists of items, of which one that names somebody is left out.

use super::{Eraser, LEFT_OUT};

impl Eraser {
    /// The plain text of a report without the items that name somebody; `None` if none does. An item begins with "- " and
    /// goes on as long as lines are indented.
    pub fn report_text(&self, text: &str) -> Option<String> {
        let mut items: Vec<String> = Vec::new();
        for line in text.split_inclusive('\n') {
            match items.last_mut() {
                Some(item) if line.starts_with("  ") => item.push_str(line),
                _ => items.push(line.to_owned()),
            }
        }
        self.without(items, |_| format!("- {LEFT_OUT}\n"))
    }

    /// The same for the HTML of a report, in which each item is a line.
    pub fn report_html(&self, html: &str) -> Option<String> {
        let lines = html.split_inclusive('\n').map(str::to_owned).collect();
        self.without(lines, |line| match line.starts_with("<li>") {
            true => format!("<li>{LEFT_OUT}</li>\n"),
            false => String::new(),
        })
    }

    fn without(&self, items: Vec<String>, instead: impl Fn(&str) -> String) -> Option<String> {
        let mut names_somebody = false;
        let items = items
            .into_iter()
            .map(|item| match self.named_in(&unescaped(&item)) {
                Some(_) => {
                    names_somebody = true;
                    instead(&item)
                }
                None => item,
            });
        let left: String = items.collect();
        names_somebody.then_some(left)
    }
}

/// The text as it was before it was written into HTML. In text that was never HTML, only what looks like an HTML escape
/// changes.
fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escaped, plain)| {
        text.replace(escaped, plain)
    })
}
