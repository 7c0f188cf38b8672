use crate::ldif::Ldif;

/// Fragments of names that real directories have and careless clients break on.
const FRAGMENTS: [&str; 24] = [
    "Smith, John",
    "Ada+Grace",
    "#1 Agent",
    "\"Quoted\" Name",
    "Back\\slash",
    " leading",
    "trailing ",
    "  both  ",
    "王小明",
    "山田 太郎",
    "김민수",
    "محمد علي",
    "שרה לוי",
    "😀 Emoji 👩‍👩‍👧",
    "<Angle>",
    "semi;colon",
    "equals=sign",
    "Zoë Ångström",
    "e\u{301}combining",
    "Ολυμπία",
    "Дарья",
    "अनिता",
    "*(star)paren*",
    "tab\tinside",
];

const LOGIN_CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789._-";

/// A person whose names try every escape there is. Equal indexes give equal people, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostilePerson {
    /// Unique login of 3 to 128 letters, digits, dots, underscores and hyphens; begins with a letter.
    pub uid: String,
    /// Common name, unique; also the RDN value before escaping.
    pub common_name: String,
    /// Given name; may begin or end with a space.
    pub given_name: String,
    /// Surname; may begin or end with a space.
    pub surname: String,
    /// Unique e-mail address.
    pub mail: String,
    /// The password, stored as clear text: hashing would only cost the tests time.
    pub password: String,
}

/// The first `count` hostile people.
pub fn hostile_people(count: usize) -> Vec<HostilePerson> {
    (0..count).map(HostilePerson::new).collect()
}

/// These people as `inetOrgPerson` entries directly under `base_dn`, which must exist.
pub fn people_ldif(people: &[HostilePerson], base_dn: &str) -> String {
    let mut ldif = Ldif::new();
    for person in people {
        ldif.entry(&person.dn(base_dn))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", &person.uid)
            .attribute("cn", &person.common_name)
            .attribute("givenName", &person.given_name)
            .attribute("sn", &person.surname)
            .attribute("displayName", &person.common_name)
            .attribute("mail", &person.mail)
            .attribute("userPassword", &person.password);
    }
    ldif.as_str().to_owned()
}

impl HostilePerson {
    fn new(index: usize) -> Self {
        let given_name = FRAGMENTS[index % FRAGMENTS.len()];
        // Another stride than the given name's, so that all pairs come up in turn.
        let surname = FRAGMENTS[(index / FRAGMENTS.len() + index * 7) % FRAGMENTS.len()];
        let uid = login(index);
        Self {
            common_name: format!(
                "{given_name}{surname} {index}{}",
                FRAGMENTS[(index * 11) % FRAGMENTS.len()]
            ),
            given_name: given_name.to_owned(),
            surname: surname.to_owned(),
            mail: format!("p{index}@hostile.example"),
            password: format!("pässword {index} \u{1F511}"),
            uid,
        }
    }

    /// This person's DN under `base_dn`, with every special character escaped (RFC 4514 section 2.4).
    pub fn dn(&self, base_dn: &str) -> String {
        format!("cn={},{base_dn}", escape_dn_value(&self.common_name))
    }
}

/// The index in letters and digits makes it unique and at least three characters long; what follows
/// brings in every allowed character and every length up to 128.
fn login(index: usize) -> String {
    let mut login = format!("u{index:02}");
    let wanted = match index % 50 {
        0 => 128,
        n => login.len() + n % 20,
    };
    let mut state = index;
    while login.len() < wanted {
        // A letter that no number contains must come first, or u1 + "23" would equal u12 + "3".
        let next = if login.chars().skip(1).all(|c| c.is_ascii_digit()) {
            b"._-xyz"[index % 6]
        } else {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            LOGIN_CHARACTERS[(state >> 33) % LOGIN_CHARACTERS.len()]
        };
        login.push(char::from(next));
    }
    login
}

fn escape_dn_value(value: &str) -> String {
    let last = value.chars().count() - 1;
    let mut escaped = String::new();
    for (position, character) in value.chars().enumerate() {
        let at_edge = position == 0 || position == last;
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => escaped.extend(['\\', character]),
            '#' if position == 0 => escaped.push_str("\\#"),
            ' ' if at_edge => escaped.push_str("\\20"),
            '\t' => escaped.push_str("\\09"),
            other => escaped.push(other),
        }
    }
    escaped
}
