//! The committed list of the kinds of servers (`rollcall-core/src/dialect/kinds.rs`) is that of the files in the folder of
//! its name, so that a kind is its file and its word in the contract. It is renewed together with the generated code.

use std::fs;
use std::path::Path;

use rollcall_core::dialect::Dialect;

use crate::generated_is_current::is_to_be_renewed;

const BEGIN: &str = "see rollcall-proto/tests/it/generated_kinds.rs. -->\n";
const END: &str = "<!-- The end of the kinds. -->";

#[test]
fn generated_kinds_are_the_files_of_the_folder() {
    let dialect = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rollcall-core/src/dialect");
    let committed = dialect.join("kinds.rs");
    let mut kinds: Vec<(String, String)> = fs::read_dir(dialect.join("kinds"))
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let doc = text.lines().next().and_then(|line| line.strip_prefix("//! "));
            let doc = doc.unwrap_or_else(|| panic!("{module}.rs begins with what kind it is"));
            (module, doc.to_owned())
        })
        .collect();
    kinds.sort();
    let fresh = list(&kinds);
    if is_to_be_renewed() {
        fs::write(&committed, &fresh).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).unwrap() == fresh,
        "dialect/kinds.rs is not the list of the files beside it: run \
         `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto generated` and build again",
    );
}

/// The README of the LDAP client shows what each kind is.
#[test]
fn generated_table_of_the_kinds_is_what_they_say() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rollcall-ldap/README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!("{before}{BEGIN}{}{END}{after}", table());
    if is_to_be_renewed() {
        fs::write(&readme, &fresh).unwrap();
    }
    assert!(
        fs::read_to_string(&readme).unwrap() == fresh,
        "the kinds in rollcall-ldap/README.md are not what their rows say: run \
         `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto generated`",
    );
}

/// What is written by hand about each kind has a column for it.
#[test]
fn generated_table_and_the_one_by_hand_have_the_same_kinds() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rollcall-ldap/README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (_, after) = text.split_once(END).unwrap();
    let head = after.lines().find(|line| line.starts_with("| |")).unwrap();
    let mut columns: Vec<&str> = head
        .split('|')
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect();
    let mut kinds: Vec<&str> = Dialect::ALL.iter().map(|dialect| dialect.row().name).collect();
    columns.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(columns, kinds);
}

fn table() -> String {
    let mut table = "\n| kind | tried on | stable id, the best first | the account's state is read from |\n\
                     |---|---|---|---|\n"
        .to_owned();
    for dialect in Dialect::ALL {
        let row = dialect.row();
        let ids = dialect.external_id_kinds().iter().map(|kind| kind.attribute());
        let ids = ids.collect::<Vec<_>>().join(", ");
        let state = dialect.state_attributes().collect::<Vec<_>>().join(", ");
        table += &format!("| {} | {} | {ids} | {state} |\n", row.name, row.tried_on);
    }
    table + "\n"
}

fn list(kinds: &[(String, String)]) -> String {
    let each = |line: &dyn Fn(&str, &str, &str) -> String| -> String {
        let lines = kinds
            .iter()
            .map(|(module, doc)| line(module, &variant(module), doc));
        lines.collect()
    };
    let modules = each(&|module, _, _| format!("mod {module};\n"));
    let variants = each(&|_, variant, doc| format!("    /// {doc}\n    {variant},\n"));
    let all = each(&|_, variant, _| format!("        Self::{variant},\n"));
    let rows = each(&|module, variant, _| format!("            Self::{variant} => &{module}::ROW,\n"));
    format!(
        "//! The kinds of directory servers. Made from the files in `kinds/`; see `rollcall-proto/tests/it/generated_kinds.rs`.\n\n\
         {modules}\nuse super::row::Row;\n\n\
         /// A kind of directory server.\n#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]\npub enum Dialect {{\n{variants}}}\n\n\
         impl Dialect {{\n    /// All kinds.\n    #[rustfmt::skip]\n    pub const ALL: &[Self] = &[\n{all}    ];\n\n    \
         /// What this kind is.\n    pub fn row(self) -> &'static Row {{\n        match self {{\n{rows}        }}\n    }}\n}}\n"
    )
}

/// `open_ldap` is `OpenLdap`.
fn variant(module: &str) -> String {
    let words = module.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_uppercase().chain(letters).collect::<String>()
        })
    });
    words.collect()
}
