//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::RangeInclusive;

/// One thing wrong: where it was set, which key, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    place: Option<String>,
    key: String,
    problem: String,
}

/// Everything wrong with a configuration. One line each when printed.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Reports a problem with a dotted key. The place where the key was set is found by the loader.
    pub fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake {
            place: None,
            key: key.into(),
            problem: problem.into(),
        });
    }

    /// Reports `value` unless it lies within `range`.
    pub fn range<V: PartialOrd + fmt::Debug>(&mut self, key: &str, value: V, range: RangeInclusive<V>) {
        if !range.contains(&value) {
            self.add(
                key,
                format!("must be between {:?} and {:?}", range.start(), range.end()),
            );
        }
    }

    /// The mistakes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// `Ok` if there is none.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    pub(super) fn at(&mut self, place: &str, key: &str, problem: impl Into<String>) {
        let place = (!place.is_empty()).then(|| place.to_owned());
        self.0.push(Mistake {
            place,
            key: key.to_owned(),
            problem: problem.into(),
        });
    }

    /// Adds the mistakes of another list.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The mistakes without those about these keys and their parts.
    pub(super) fn without(mut self, told: &[String]) -> Self {
        let is_told = |key: &str| {
            told.iter().any(|told| {
                key.strip_prefix(told)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            })
        };
        self.0.retain(|mistake| !is_told(&mistake.key));
        self
    }

    /// Adds the place where each key was set, if `place_of` knows it.
    pub(super) fn placed(mut self, place_of: impl Fn(&str) -> Option<String>) -> Self {
        for mistake in &mut self.0 {
            let key = mistake.key.split(['[', ' ']).next().unwrap_or_default();
            mistake.place = place_of(key);
        }
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
