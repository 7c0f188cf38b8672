//! The parts of a filter, to be asked about one by one.

use super::Filter;

/// A part of a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clause<'f> {
    /// How deep it is nested; 0 for the whole filter.
    pub depth: u32,
    /// The part.
    pub filter: &'f Filter,
}

impl Filter {
    /// The filter and all of its parts, each before its own parts.
    pub fn clauses(&self) -> Vec<Clause<'_>> {
        let mut clauses = Vec::new();
        self.collect_clauses(0, &mut clauses);
        clauses
    }

    fn collect_clauses<'f>(&'f self, depth: u32, clauses: &mut Vec<Clause<'f>>) {
        clauses.push(Clause { depth, filter: self });
        match self {
            Self::And(inner) | Self::Or(inner) => {
                inner
                    .iter()
                    .for_each(|part| part.collect_clauses(depth + 1, clauses));
            }
            Self::Not(inner) => inner.collect_clauses(depth + 1, clauses),
            Self::Present(_) | Self::Compare { .. } | Self::Substrings { .. } | Self::Extensible { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_part_is_told_with_its_depth() {
        let filter = Filter::parse("(&(a=1)(!(|(b=2)(c=*))))").unwrap();
        let told: Vec<String> = filter
            .clauses()
            .iter()
            .map(|clause| format!("{} {}", clause.depth, clause.filter))
            .collect();
        let expected = [
            "0 (&(a=1)(!(|(b=2)(c=*))))",
            "1 (a=1)",
            "1 (!(|(b=2)(c=*)))",
            "2 (|(b=2)(c=*))",
            "3 (b=2)",
            "3 (c=*)",
        ];
        assert_eq!(told, expected);
    }
}
