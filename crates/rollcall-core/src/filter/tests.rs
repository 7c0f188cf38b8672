#![allow(clippy::unwrap_used)]
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn attribute(text: &str) -> Attribute {
    Attribute::parse(text).unwrap()
}

fn canonical(text: &str) -> String {
    Filter::parse(text).unwrap().to_string()
}

fn mistake(text: &str) -> (FilterErrorKind, usize) {
    let error = Filter::parse(text).unwrap_err();
    (error.kind, error.offset)
}

#[test]
fn every_form_of_rfc_4515_section_4_parses() {
    for text in [
        "(cn=Babs Jensen)",
        "(!(cn=Tim Howes))",
        "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
        "(o=univ*of*mich*)",
        "(seeAlso=)",
        "(cn:caseExactMatch:=Fred Flintstone)",
        "(cn:=Betty Rubble)",
        "(sn:dn:2.4.6.8.10:=Barney Rubble)",
        "(o:dn:=Ace Industry)",
        "(:1.2.3:=Wilma Flintstone)",
        "(:dn:2.4.6.8.10:=Dino)",
        "(cn=*\\2a*)",
        "(bin=\\00\\00\\00\\04)",
        "(1.3.6.1.4.1.1466.0=\\04\\02Hi)",
        "(&)",
        "(|)",
        "(uid=*)",
        "(a>=5)",
        "(a<=5)",
        "(a~=x)",
        "(cn;lang-de;x-y=a)",
        "(cn=*b)",
        "(cn=a*)",
        "(a=>5)",
    ] {
        assert_eq!(canonical(text), text);
    }
    assert_eq!(
        canonical("(o=Parens R Us \\28for all your parenthetical needs\\29)")
            .matches("\\28")
            .count(),
        1
    );
    assert_eq!(canonical("(filename=C:\\5cMyFile)"), "(filename=C:\\5cMyFile)");
    assert_eq!(canonical("(sn=Lu\\c4\\8di\\c4\\87)"), "(sn=Lu\u{10d}i\u{107})");
    assert_eq!(canonical("(sn=Lu\u{10d}i\u{107})"), "(sn=Lu\u{10d}i\u{107})");
    assert_eq!(canonical("(cn=\\ff\\C4)"), "(cn=\\ff\\c4)");
}

#[test]
fn pasted_layout_is_no_part_of_a_filter() {
    let pasted = "\u{feff}\n( &\r\n\t(objectCategory=person)\n  ( ! (userAccountControl:1.2.840.113556.1.4.803:=2) )\n\
                  (memberOf =\n     cn=Staff, ou=Groups\n  )\n)\n";
    assert_eq!(
        canonical(pasted),
        "(&(objectCategory=person)(!(userAccountControl:1.2.840.113556.1.4.803:=2))(memberOf=cn=Staff, ou=Groups))"
    );
}

#[test]
fn spaces_in_a_value_belong_to_it() {
    let filter = Filter::parse("(cn= a  b )").unwrap();
    assert_eq!(filter, Filter::equality(attribute("cn"), b" a  b "));
    assert_eq!(filter.to_string(), "(cn=\\20a  b\\20)");
}

#[test]
fn mistakes_are_named_where_they_are() {
    use FilterErrorKind::*;
    for (text, kind, offset) in [
        ("", Empty, 0),
        (" \n", Empty, 2),
        ("uid=anna", MissingParentheses, 0),
        ("&(a=b)(c=d)", MissingParentheses, 0),
        ("\"(a=b)\"", MissingParentheses, 0),
        ("\u{201c}(a=b)\u{201d}", TypographicQuotes, 0),
        ("(&a=b)", MissingInnerParentheses, 2),
        ("(!a=b)", MissingInnerParentheses, 2),
        ("(&(a=b)|(c=d))", MissingInnerParentheses, 7),
        ("(&(a=b)(c=d)", Unclosed, 0),
        ("(&(a=b)(c=d", Unclosed, 7),
        ("(", Unclosed, 0),
        ("(a=b", Unclosed, 0),
        ("(a=b))", ExtraParenthesis, 5),
        (")", ExtraParenthesis, 0),
        ("(a=b)(c=d)", TrailingText, 5),
        ("(a=b) and (c=d)", TrailingText, 6),
        ("(and(a=b)(c=d))", TrailingText, 1),
        ("(&&(a=b)(c=d))", DoubledOperator, 2),
        ("(||(a=b)(c=d))", DoubledOperator, 2),
        ("()", EmptyParentheses, 0),
        ("(&(a=b)())", EmptyParentheses, 7),
        ("(!)", NotTakesOne, 1),
        ("(!(a=b)(c=d))", NotTakesOne, 1),
        ("(uid)", MissingEquals, 4),
        ("(uid", MissingEquals, 4),
        ("((a=b))", DoubledParenthesis, 1),
        ("((a=b)(c=d))", DoubledParenthesis, 1),
        ("(a>5)", BareInequality('>'), 2),
        ("(a<5)", BareInequality('<'), 2),
        ("(a!=5)", Unequal, 2),
        ("(a<>5)", Unequal, 2),
        ("(=x)", MissingAttribute, 1),
        ("(first_name=x)", IllegalInAttribute('_'), 6),
        ("(first name=x)", IllegalInAttribute(' '), 6),
        ("(\u{e9}=x)", IllegalInAttribute('\u{e9}'), 1),
        ("(\u{201c}cn\u{201d}=x)", TypographicQuotes, 1),
        ("(2=x)", MalformedAttribute, 1),
        ("(2.05.4=x)", MalformedAttribute, 1),
        ("(cn;=x)", MalformedAttribute, 1),
        ("(-cn=x)", MalformedAttribute, 1),
        ("(cn=\u{201c}Anna\u{201d})", TypographicQuotes, 4),
        ("(:=x)", MalformedExtensible, 1),
        ("(:dn:=x)", MalformedExtensible, 1),
        ("(cn:dn:dn:=x)", MalformedExtensible, 1),
        ("(cn:dnMatch:=x)", MalformedExtensible, 1),
        ("(cn::=x)", MalformedExtensible, 1),
        ("(cn:a:b:=x)", MalformedExtensible, 1),
        ("(cn:1.2.:=x)", MalformedExtensible, 1),
        ("(cn=a\\*b)", MalformedEscape, 5),
        ("(cn=a\\4)", MalformedEscape, 5),
        ("(cn=a\\)", MalformedEscape, 5),
        ("(cn=a(b)c)", ParenthesisInValue, 5),
        ("(cn=a\0)", NulInValue, 5),
        ("(cn=a\nb)", LineBreakInValue, 5),
        ("(cn=a**b)", DoubledAsterisk, 5),
        ("(cn=**)", DoubledAsterisk, 4),
        ("(cn>=a*)", AsteriskInValue, 6),
        ("(cn:=a*)", AsteriskInValue, 6),
    ] {
        assert_eq!(mistake(text), (kind, offset), "{text:?}");
        assert!(!kind.hint().is_empty());
    }
}

#[test]
fn an_apostrophe_is_no_quotation_mark() {
    assert_eq!(canonical("(sn=O\u{2019}Neil)"), "(sn=O\u{2019}Neil)");
}

#[test]
fn places_are_counted_in_lines_and_characters() {
    let error = Filter::parse("(&\n  (cn=\u{e9}\u{e9})(x_y=1)\n)").unwrap_err();
    assert_eq!((error.line, error.column, error.offset), (2, 12, 16));
    let text = error.to_string();
    assert!(
        text.starts_with("line 2, column 12: an attribute name cannot hold '_': "),
        "{text}"
    );
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}(a=b){}", "(!".repeat(depth - 1), ")".repeat(depth - 1));
    assert!(Filter::parse(&nested(MAX_FILTER_DEPTH)).is_ok());
    assert_eq!(
        mistake(&nested(MAX_FILTER_DEPTH + 1)),
        (FilterErrorKind::TooDeep, 64)
    );
    assert_eq!(
        mistake(&"(!".repeat(MAX_FILTER_BYTES / 2)).0,
        FilterErrorKind::TooDeep
    );
    assert_eq!(mistake(&nested(100_000)).0, FilterErrorKind::TooLong);
    let wide = |bytes: usize| format!("(a={})", "b".repeat(bytes - 4));
    assert!(Filter::parse(&wide(MAX_FILTER_BYTES)).is_ok());
    assert_eq!(mistake(&wide(MAX_FILTER_BYTES + 1)).0, FilterErrorKind::TooLong);
}

#[test]
fn attributes_are_listed_once_without_options() {
    let filter =
        Filter::parse("(&(cn;lang-de=a)(CN=b)(!(mail=*))(sn=a*)(uid:dn:=x)(:1.2.3:=y)(2.5.4.3>=1))").unwrap();
    assert_eq!(
        filter.attributes().into_iter().collect::<Vec<_>>(),
        ["2.5.4.3", "cn", "mail", "sn", "uid"]
    );
}

#[test]
fn a_value_cannot_widen_a_filter() {
    let filter = Filter::and(vec![
        Filter::parse("(objectClass=person)").unwrap(),
        Filter::equality(attribute("uid"), b"*)(|(uid=*"),
    ]);
    assert_eq!(
        filter.to_string(),
        "(&(objectClass=person)(uid=\\2a\\29\\28|\\28uid=\\2a))"
    );
    let guid = [0xe4, 0x41, 0xba, 0x85];
    assert_eq!(
        Filter::equality(attribute("objectGUID"), &guid).to_string(),
        "(objectGUID=\\e4A\\ba\\85)"
    );
}

fn any_attribute() -> impl Strategy<Value = Attribute> {
    "([a-zA-Z][a-zA-Z0-9-]{0,8}|[0-2](\\.(0|[1-9][0-9]{0,3})){1,4})(;[a-z0-9-]{1,5}){0,2}"
        .prop_map(|text| attribute(&text))
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..12),
        any::<String>().prop_map(String::into_bytes),
        "[ \u{201c}*()\\\\\n]{0,3}".prop_map(String::into_bytes)
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let part = || any_value().prop_filter("parts are not empty", |part| !part.is_empty());
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Approximate)
    ];
    let rule =
        "(x[a-zA-Z0-9-]{1,6}|1\\.2\\.840\\.[1-9]{1,4})".prop_map(|text| MatchingRule::parse(&text).unwrap());
    let leaf = prop_oneof![
        any_attribute().prop_map(Filter::present),
        (any_attribute(), comparison, any_value()).prop_map(|(attribute, comparison, value)| {
            Filter::Compare {
                attribute,
                comparison,
                value,
            }
        }),
        (
            any_attribute(),
            proptest::option::of(part()),
            vec(part(), 0..3),
            proptest::option::of(part())
        )
            .prop_filter("at least one part", |(_, initial, any, last)| {
                initial.is_some() || !any.is_empty() || last.is_some()
            })
            .prop_map(|(attribute, initial, any, last)| Filter::Substrings {
                attribute,
                initial,
                any,
                last
            }),
        (
            any_attribute(),
            any::<bool>(),
            proptest::option::of(rule),
            any_value()
        )
            .prop_map(|(attribute, dn_attributes, rule, value)| Filter::Extensible {
                attribute: Some(attribute),
                dn_attributes,
                rule,
                value
            }),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::And),
            vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #[test]
    fn a_filter_survives_being_written(filter in any_filter()) {
        let text = filter.to_string();
        prop_assume!(text.len() <= MAX_FILTER_BYTES);
        prop_assert_eq!(Filter::parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn an_equality_means_exactly_its_bytes(value in vec(any::<u8>(), 0..64)) {
        let filter = Filter::equality(attribute("uid"), &value);
        prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
    }

    #[test]
    fn any_text_gets_an_answer(text in any::<String>(), soup in "[()&|!=<>~:*\\\\a-c0-2;. \n\u{e9}\u{201c}]{0,40}") {
        for text in [text, soup] {
            match Filter::parse(&text) {
                Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter)),
                Err(error) => prop_assert!(text.is_char_boundary(error.offset), "{}", error),
            }
        }
    }
}
