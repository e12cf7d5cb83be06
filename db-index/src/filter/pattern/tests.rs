use super::*;

fn matches(source: &str, flags: &str, text: &str) -> bool {
    Pattern::compile(source, flags, 1).unwrap_or_else(|error| panic!("{source}: {error}")).is_match(text)
}

fn code(source: &str, flags: &str) -> ErrorCode {
    Pattern::compile(source, flags, 1).unwrap_err().code
}

#[test]
fn classes_of_letters_are_ascii() {
    assert!(matches(r"^\d+$", "", "123"));
    assert!(!matches(r"^\d$", "", "٣"));
    assert!(!matches(r"^\w$", "", "é"));
    assert!(matches(r"^\W$", "", "é"));
    assert!(matches(r"^[\w-]+$", "", "a-b_c"));
    assert!(matches(r"^[^\d\s]+$", "", "ab"));
    assert!(matches(r"^[\D]$", "", "x"));
    assert!(matches(r"\bcat\b", "", "the cat sat") && !matches(r"\bcat\b", "", "concat"));
    assert!(matches(r"\Bcat", "", "concat"));
    assert!(matches(r"\byster", "", "Öyster") && !matches(r"(*UCP)\byster", "", "Öyster"));
    assert!(matches(r"(*UCP)^\w[\d]$", "", "é٣"));
    assert!(matches("^[[:alpha:]]+$", "", "abc") && !matches("^[[:^alpha:]]$", "", "a"));
}

#[test]
fn flags_i_m_s_x_hold() {
    assert!(matches("ÉCLAIR", "i", "éclair"));
    assert!(matches("^b$", "m", "a\nb\nc") && !matches("^b$", "", "a\nb\nc"));
    assert!(matches("a.b", "s", "a\nb") && !matches("a.b", "", "a\nb"));
    assert!(matches("a b # comment\n c", "x", "abc") && !matches("a b", "x", "a b"));
    assert!(matches("a[ ]b", "x", "a b"));
    assert!(
        matches("(?i)abc", "", "ABC") && matches("a(?i:b)c", "", "aBc") && !matches("a(?i:b)c", "", "aBC")
    );
    assert!(
        matches("(?m)^b", "", "a\nb")
            && matches("(?:(?m)^b)", "", "a\nb")
            && !matches("(?:(?m)a)|^b", "", "x\nb")
    );
    assert!(matches("(?x) a b", "", "ab"));
}

#[test]
fn the_end_may_stand_before_a_last_line_feed() {
    assert!(matches("abc$", "", "abc\n") && !matches("abc$", "", "abc\n\n"));
    assert!(matches(r"abc\Z", "", "abc\n") && !matches(r"abc\z", "", "abc\n"));
}

#[test]
fn brackets_braces_and_quotes_that_are_letters_in_pcre_are_letters() {
    assert!(matches("^[]a]+$", "", "]a"));
    assert!(matches("^[a[b]+$", "", "[ab"));
    assert!(matches("^[a&&b]+$", "", "a&b"));
    assert!(matches("^[a~~c]+$", "", "~ac"));
    assert!(matches("^[a-]+$", "", "-a") && matches("^[-a]+$", "", "-a") && matches(r"^[\d-x]+$", "", "1-x"));
    assert!(matches("a{,3}", "", "a{,3}") && matches("a{x}", "", "a{x}") && matches("^a{2,3}$", "", "aaa"));
    assert!(matches(r"^\Qa.b\E.$", "", "a.bx") && !matches(r"^\Qa.b\E$", "", "axb"));
    assert!(matches("a/b", "", "a/b") && matches(r"a\/b", "", "a/b") && matches(r"\<b\>", "", "<b>"));
    assert!(matches(r"^\x41\x{42}\0?[\103]?$", "", "ABC"));
    assert!(matches(r"\t\e\cA", "", "\t\x1B\x01"));
    assert!(matches(r"^\p{Lu}\pL+$", "", "Éa"));
    assert!(matches("a(?#note)b", "", "ab") && matches("(?<x>a)(?P<y>b)(?'z'c)", "", "abc"));
}

#[test]
fn what_needs_backtracking_is_refused() {
    for source in ["(a)\\1", "(?=a)", "(?!a)", "(?<=a)b", "(?>a)", "a++", "(?R)", "(?(1)a)", "\\k<x>"] {
        assert_eq!(code(source, ""), ErrorCode::INVALID_REGEX, "{source}");
    }
}

#[test]
fn bad_patterns_flags_and_sizes_are_refused() {
    for source in ["(", ")", "[", "a**", "\\", "[b-a]", "\\y", "*a", "(?z)", "[a-\\", "\\p{", "(?"] {
        assert_eq!(code(source, ""), ErrorCode::INVALID_REGEX, "{source}");
    }
    assert_eq!(code("a", "g"), ErrorCode::INVALID_REGEX_OPTION);
    assert_eq!(code(&"a".repeat(40_000), ""), ErrorCode::INVALID_REGEX);
    assert_eq!(code("((a{1,1000}){1,1000}){1,1000}", ""), ErrorCode::INVALID_REGEX);
    assert_eq!(code(&"(".repeat(200), ""), ErrorCode::INVALID_REGEX);
    assert_eq!(code("a\0b", ""), ErrorCode::BAD_VALUE);
}

#[test]
fn an_anchored_plain_pattern_has_a_prefix() {
    let prefix = |source, flags| Pattern::compile(source, flags, 1).unwrap().prefix().map(str::to_owned);
    assert_eq!(prefix("^abc", ""), Some("abc".to_owned()));
    assert_eq!(prefix("^ab*", ""), Some("a".to_owned()));
    assert_eq!(prefix("^ab.*x", ""), Some("ab".to_owned()));
    assert_eq!(prefix("^abc|d", ""), None);
    assert_eq!(prefix("^abc", "i"), None);
    assert_eq!(prefix("abc", ""), None);
}

#[test]
fn a_stored_expression_equals_by_pattern_and_set_of_flags() {
    let stored = bson::rawdoc! {"r": bson::Regex {
        pattern: "a".try_into().unwrap(),
        options: "im".try_into().unwrap(),
    }};
    let value = stored.get("r").unwrap().unwrap();
    assert!(Pattern::compile("a", "mi", 1).unwrap().matches(value));
    assert!(!Pattern::compile("a", "i", 1).unwrap().matches(value));
    assert!(!Pattern::compile("b", "mi", 1).unwrap().matches(value));
}
