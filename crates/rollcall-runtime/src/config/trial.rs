//! Tries one setting alone, and, if it has parts (the entries of a list, and their keys), each part alone. So every
//! mistake is reported at once, and the correct parts are still checked.

use std::marker::PhantomData;

use toml::{Table, Value};

use super::layers::{self, Setting};
use super::settings::{Settings, first_line, is_secret, read};

/// The result of trying a setting.
pub(super) struct Trial<'a, T> {
    /// The part of it that can be used.
    pub(super) usable: Option<Value>,
    /// What is wrong with the rest.
    pub(super) problems: Vec<Problem>,
    defaults: &'a Table,
    setting: &'a Setting,
    settings: PhantomData<T>,
}

/// What is wrong with a part.
pub(super) struct Problem {
    /// The part, such as `callers[2].permissions`.
    pub(super) key: String,
    /// For people; says which part.
    pub(super) text: String,
}

/// Where a part is.
struct Part {
    /// Its key, such as `callers[2].permissions`.
    key: String,
    /// The same without numbers, as secrets are listed.
    path: String,
    /// For people: `entry 2: permissions: `.
    words: String,
}

impl<'a, T: Settings> Trial<'a, T> {
    /// Tries a setting on top of the defaults.
    pub(super) fn of(defaults: &'a Table, setting: &'a Setting) -> Self {
        let mut trial = Self {
            usable: None,
            problems: Vec::new(),
            defaults,
            setting,
            settings: PhantomData,
        };
        let whole = Part {
            key: setting.key.clone(),
            path: setting.key.clone(),
            words: String::new(),
        };
        trial.usable = trial.part(&whole, &setting.value, &|value| value);
        trial
    }

    /// The usable part of a part. `wrap` turns a part into a setting that has nothing else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of toml: all others have no parts")]
    fn part(&mut self, part: &Part, value: &Value, wrap: &dyn Fn(Value) -> Value) -> Option<Value> {
        let usable = match value {
            Value::Array(elements) if part.words.is_empty() || elements.iter().all(Value::is_table) => {
                let wrap = |value| wrap(Value::Array(vec![value]));
                let elements = elements.iter().enumerate();
                Value::Array(
                    elements
                        .filter_map(|(index, element)| self.part(&part.entry(index), element, &wrap))
                        .collect(),
                )
            }
            Value::Table(table) => {
                let mut usable = Table::new();
                for (name, value) in table {
                    let wrap = |value| wrap(Value::Table(Table::from_iter([(name.clone(), value)])));
                    let value = self.part(&part.field(name), value, &wrap);
                    usable.extend(value.map(|value| (name.clone(), value)));
                }
                Value::Table(usable)
            }
            scalar => scalar.clone(),
        };
        match self.attempt(part, wrap(usable.clone())) {
            Ok(()) => Some(usable),
            Err(problem) => {
                self.problems.push(Problem {
                    key: part.key.clone(),
                    text: format!("{}{problem}", part.words),
                });
                None
            }
        }
    }

    fn attempt(&self, part: &Part, value: Value) -> Result<(), String> {
        let mut table = self.defaults.clone();
        layers::set(&mut table, &self.setting.key, value);
        let read = read::<T>(&table).map(drop);
        read.map_err(|error| match is_secret::<T>(&part.path) {
            true => "is not valid".to_owned(),
            false => first_line(error.message()),
        })
    }
}

impl Part {
    fn entry(&self, index: usize) -> Self {
        Self {
            key: format!("{}[{}]", self.key, index + 1),
            path: self.path.clone(),
            words: format!("{}entry {}: ", self.words, index + 1),
        }
    }

    fn field(&self, name: &str) -> Self {
        Self {
            key: format!("{}.{name}", self.key),
            path: format!("{}.{name}", self.path),
            words: format!("{}{name}: ", self.words),
        }
    }
}
