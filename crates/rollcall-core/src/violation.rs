//! Mistakes in an input, collected so that all of them are reported at once.

/// One bad field of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Path of the field in the request, e.g. `user_sync.searches[1].filter`.
    pub field: String,
    /// What is wrong and what would be right, for the admin who typed it.
    pub description: String,
}

/// The mistakes found so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// No mistakes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a mistake.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            description: description.into(),
        });
    }

    /// Records a mistake unless `ok`.
    pub fn require(&mut self, ok: bool, field: impl Into<String>, description: impl Into<String>) {
        if !ok {
            self.add(field, description);
        }
    }

    /// Takes over the mistakes of a part, whose paths are put behind `prefix`.
    pub fn nest(&mut self, prefix: &str, inner: Violations) {
        for violation in inner.0 {
            let field = match violation.field.as_str() {
                "" => prefix.to_owned(),
                field if prefix.is_empty() => field.to_owned(),
                field => format!("{prefix}.{field}"),
            };
            self.0.push(Violation {
                field,
                description: violation.description,
            });
        }
    }

    /// Says `better` wherever `text` was said.
    pub(crate) fn reword(&mut self, text: &str, better: &str) {
        for violation in &mut self.0 {
            if violation.description == text {
                better.clone_into(&mut violation.description);
            }
        }
    }

    /// Unwraps the value or records why there is none.
    pub fn take<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error.to_string())).ok()
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }

    /// `Ok` if nothing is wrong.
    pub fn into_result(self) -> Result<(), Violations> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// Checks that a text has between `min` and `max` characters and no control characters.
pub fn check_text(violations: &mut Violations, field: &str, text: &str, min: usize, max: usize) {
    let characters = text.chars().count();
    if characters < min {
        let what = if characters == 0 {
            "is required".into()
        } else {
            format!("needs at least {min} characters")
        };
        violations.add(field, what);
    } else if characters > max {
        violations.add(
            field,
            format!("has {characters} characters, at most {max} are allowed"),
        );
    }
    if text.chars().any(char::is_control) {
        violations.add(field, "holds a control character");
    }
}
