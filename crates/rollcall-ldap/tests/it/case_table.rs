//! The table of cases in the README names tests; they exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The source text of every file of that name, by its name without `.rs`; of `main.rs` by that of its folder.
fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "target" {
            sources(&path, found);
        } else if let Some(stem) = name.strip_suffix(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let name = match stem {
                "main" => folder.file_name().unwrap().to_str().unwrap(),
                _ => stem,
            };
            found.entry(name.to_owned()).or_default().push_str(&text);
        }
    }
}

#[test]
fn the_case_table_names_tests_that_exist() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for folder in ["../../crates", "../../tests"] {
        sources(&here.join(folder), &mut found);
    }
    let readme = fs::read_to_string(here.join("README.md")).unwrap();
    let (_, table) = readme.split_once("## Cases").unwrap();
    let mut expected = 1;
    for line in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, case, shown_by] = cells[..] else {
            panic!("{line}")
        };
        assert_eq!(number, expected.to_string());
        assert!(!case.is_empty());
        expected += 1;
        if shown_by.starts_with("not used") {
            continue;
        }
        for test in shown_by.split(", ") {
            let name = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            let (file, test) = name.and_then(|name| name.split_once("::")).unwrap();
            let source = found
                .get(file)
                .unwrap_or_else(|| panic!("case {number}: no file {file}.rs"));
            let exists = source.contains(&format!("fn {test}("));
            assert!(exists, "case {number}: no {test} in {file}.rs");
        }
    }
    assert_eq!(expected, 75);
}
