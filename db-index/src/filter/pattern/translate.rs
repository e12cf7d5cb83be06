//! Rewrites a PCRE pattern for the `regex` crate: other escapes, ASCII classes, `$` before a last line feed, literal
//! brackets and braces, and the flags `m` and `x`, which are resolved here.

use std::iter::Peekable;
use std::str::Chars;

use crate::{error::QueryError, filter::pattern::invalid};

/// How deep groups may stand in one another.
const GROUPS_MAX: usize = 100;

const WORD: &str = "0-9A-Za-z_";
const DIGIT: &str = "0-9";
const SPACE: &str = r"\x20\t\n\x0B\f\r";
const HORIZONTAL: &str = r"\t\x20\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}";
const VERTICAL: &str = r"\n\x0B\f\r\x{85}\x{2028}\x{2029}";

/// Rewrites `source`.
pub(super) fn translate(source: &str, multi_line: bool, extended: bool) -> Result<String, QueryError> {
    let mut translator = Translator {
        rest: source.chars().peekable(),
        output: String::with_capacity(source.len() + 16),
        modes: Modes { multi_line, extended },
        outer: Vec::new(),
        unicode: false,
    };
    translator.run()?;
    Ok(translator.output)
}

#[derive(Clone, Copy)]
struct Modes {
    multi_line: bool,
    extended: bool,
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    output: String,
    modes: Modes,
    /// The modes outside each open group.
    outer: Vec<Modes>,
    /// Whether `\d`, `\s`, `\w` and `\b` go by Unicode: after `(*UCP)`.
    unicode: bool,
}

/// What one item of a character class stands for.
enum ClassItem {
    Letter(char),
    Set(String),
    Nothing,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), QueryError> {
        while let Some(letter) = self.rest.next() {
            match letter {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => {
                    self.modes = self.outer.pop().ok_or_else(|| invalid("unmatched closing parenthesis"))?;
                    self.output.push(')');
                }
                '^' => self.output.push_str(if self.modes.multi_line { "(?m:^)" } else { r"\A" }),
                '$' => self.output.push_str(if self.modes.multi_line { "(?m:$)" } else { r"(?:\n?\z)" }),
                '*' | '+' | '?' => {
                    self.output.push(letter);
                    self.after_quantifier()?;
                }
                '{' => self.brace()?,
                '.' | '|' => self.output.push(letter),
                '#' if self.modes.extended => while self.rest.next_if(|letter| *letter != '\n').is_some() {},
                letter if self.modes.extended && letter.is_ascii_whitespace() => {}
                letter => self.literal(letter),
            }
        }
        if self.outer.is_empty() { Ok(()) } else { Err(invalid("missing closing parenthesis")) }
    }

    fn literal(&mut self, letter: char) {
        push_literal(&mut self.output, letter);
    }

    /// After a quantifier: `?` makes it lazy, `+` would make it possessive, another one is an error in PCRE.
    fn after_quantifier(&mut self) -> Result<(), QueryError> {
        match self.rest.peek() {
            Some('?') => {
                self.rest.next();
                self.output.push('?');
                Ok(())
            }
            Some('+') => Err(invalid("possessive quantifiers are not supported")),
            Some('*') => Err(invalid("quantifier does not follow a repeatable item")),
            _ => Ok(()),
        }
    }

    /// A brace is a quantifier only in the forms `{2}`, `{2,}` and `{2,3}`.
    fn brace(&mut self) -> Result<(), QueryError> {
        let mut ahead = self.rest.clone();
        let mut inner = String::new();
        while let Some(letter) = ahead.next_if(|letter| letter.is_ascii_digit() || *letter == ',') {
            inner.push(letter);
        }
        let quantifier = ahead.next() == Some('}')
            && inner.starts_with(|first: char| first.is_ascii_digit())
            && inner.bytes().filter(|byte| *byte == b',').count() <= 1;
        if !quantifier {
            self.literal('{');
            return Ok(());
        }
        self.rest = ahead;
        self.output.push('{');
        self.output.push_str(&inner);
        self.output.push('}');
        self.after_quantifier()
    }

    fn escape(&mut self) -> Result<(), QueryError> {
        let letter = self.rest.next().ok_or_else(|| invalid("\\ at the end of the pattern"))?;
        match letter {
            'd' | 'w' | 's' | 'b' | 'B' | 'D' | 'W' | 'S' if self.unicode => {
                self.output.push('\\');
                self.output.push(letter);
            }
            'd' => self.output.push_str(r"(?-u:\d)"),
            'w' => self.output.push_str(r"(?-u:\w)"),
            's' => self.output.push_str(r"(?-u:\s)"),
            'b' => self.output.push_str(r"(?-u:\b)"),
            'B' => self.output.push_str(r"(?-u:\B)"),
            'D' | 'W' | 'S' | 'H' | 'V' | 'N' | 'h' | 'v' => {
                let set = letter_set(letter).unwrap_or_default();
                self.output.push_str(&set);
            }
            'R' => self.output.push_str(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])"),
            'A' | 'G' => self.output.push_str(r"\A"),
            'z' => self.output.push_str(r"\z"),
            'Z' => self.output.push_str(r"(?:\n?\z)"),
            // Only whether there is a match counts, not where it starts.
            'K' | 'E' => {}
            'Q' => {
                while let Some(letter) = self.quoted() {
                    self.literal(letter);
                }
            }
            'p' | 'P' => {
                let property = self.property(letter)?;
                self.output.push_str(&property);
            }
            '1'..='9' | 'k' | 'g' => return Err(invalid("back-references are not supported")),
            'X' | 'C' => return Err(invalid(format!("\\{letter} is not supported"))),
            letter => {
                let letter = self.escaped_letter(letter)?;
                self.literal(letter);
            }
        }
        Ok(())
    }

    /// The next letter between `\Q` and `\E`.
    fn quoted(&mut self) -> Option<char> {
        let letter = self.rest.next()?;
        if letter == '\\' && self.rest.next_if_eq(&'E').is_some() {
            return None;
        }
        Some(letter)
    }

    /// An escape that stands for one letter, in and outside classes.
    fn escaped_letter(&mut self, letter: char) -> Result<char, QueryError> {
        Ok(match letter {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\x0C',
            'e' => '\x1B',
            'a' => '\x07',
            'x' => {
                if self.rest.next_if_eq(&'{').is_some() {
                    self.code_in_braces(16)?
                } else {
                    self.code(16, 2)?
                }
            }
            'o' if self.rest.next_if_eq(&'{').is_some() => self.code_in_braces(8)?,
            '0' => self.code(8, 2)?,
            'c' => {
                let letter = self.rest.next().filter(char::is_ascii_graphic);
                let letter =
                    letter.ok_or_else(|| invalid("\\c must be followed by a printable ASCII letter"))?;
                char::from((letter.to_ascii_uppercase() as u8) ^ 0x40)
            }
            letter if letter.is_ascii_alphanumeric() => {
                return Err(invalid(format!("unrecognized character follows \\: {letter}")));
            }
            letter => letter,
        })
    }

    fn code(&mut self, radix: u32, digits: usize) -> Result<char, QueryError> {
        let mut code = 0;
        for _ in 0..digits {
            match self.rest.next_if(|letter| letter.is_digit(radix)).and_then(|digit| digit.to_digit(radix)) {
                Some(digit) => code = code * radix + digit,
                None => break,
            }
        }
        char::from_u32(code).ok_or_else(|| invalid("invalid code point"))
    }

    fn code_in_braces(&mut self, radix: u32) -> Result<char, QueryError> {
        let code = self.code(radix, 8)?;
        match self.rest.next() {
            Some('}') => Ok(code),
            _ => Err(invalid("missing closing brace of a code point")),
        }
    }

    /// `\pL` or `\p{Lu}`, given back as it stands.
    fn property(&mut self, kind: char) -> Result<String, QueryError> {
        let mut text = format!("\\{kind}");
        match self.rest.next() {
            Some('{') => {
                text.push('{');
                loop {
                    match self.rest.next() {
                        Some('}') => break,
                        Some(letter) if letter.is_ascii_alphanumeric() || "^_= -".contains(letter) => {
                            text.push(letter);
                        }
                        _ => return Err(invalid("malformed \\p")),
                    }
                }
                text.push('}');
            }
            Some(letter) if letter.is_ascii_alphabetic() => text.push(letter),
            _ => return Err(invalid("malformed \\p")),
        }
        Ok(text)
    }

    fn group(&mut self) -> Result<(), QueryError> {
        if self.outer.len() >= GROUPS_MAX {
            return Err(invalid(format!("more than {GROUPS_MAX} groups in one another")));
        }
        if self.rest.peek() == Some(&'*') {
            return self.verb();
        }
        if self.rest.next_if_eq(&'?').is_none() {
            self.open("(");
            return Ok(());
        }
        match self.rest.next() {
            Some(':') => {
                self.open("(?:");
                Ok(())
            }
            Some('#') => {
                while self.rest.next().ok_or_else(|| invalid("missing ) after (?#"))? != ')' {}
                Ok(())
            }
            Some('P') if self.rest.peek() == Some(&'<') => {
                self.rest.next();
                self.named('>')
            }
            Some('<') if !matches!(self.rest.peek(), Some('=' | '!')) => self.named('>'),
            Some('\'') => self.named('\''),
            Some(letter) if letter.is_ascii_alphabetic() || letter == '-' => self.flags(letter),
            _ => Err(invalid("look-around, atomic groups, recursion and conditions are not supported")),
        }
    }

    fn open(&mut self, text: &str) {
        self.outer.push(self.modes);
        self.output.push_str(text);
    }

    fn named(&mut self, end: char) -> Result<(), QueryError> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some(letter) if letter == end => break,
                Some(letter) if letter.is_alphanumeric() || letter == '_' => name.push(letter),
                _ => return Err(invalid("malformed group name")),
            }
        }
        self.open(&format!("(?P<{name}>"));
        Ok(())
    }

    /// `(?i)` holds to the end of the group, `(?i:` opens one. `m` and `x` are kept here, `i` and `s` passed on.
    fn flags(&mut self, first: char) -> Result<(), QueryError> {
        let (mut modes, mut passed, mut removed) = (self.modes, String::new(), String::new());
        let mut on = true;
        let mut next = Some(first);
        let opens = loop {
            match next {
                Some('-') if on => on = false,
                Some('m') => modes.multi_line = on,
                Some('x') => modes.extended = on,
                Some(letter @ ('i' | 's')) => if on { &mut passed } else { &mut removed }.push(letter),
                // Greediness, duplicate names and plain groups do not change whether there is a match.
                Some('U' | 'J' | 'n') => {}
                Some(')') => break false,
                Some(':') => break true,
                _ => return Err(invalid("unrecognized character after (?")),
            }
            next = self.rest.next();
        };
        let mut text = format!("(?{passed}");
        if !removed.is_empty() {
            text.push('-');
            text.push_str(&removed);
        }
        if opens {
            text.push(':');
            self.open(&text);
        } else if text.len() > 2 {
            self.output.push_str(&text);
            self.output.push(')');
        }
        self.modes = modes;
        Ok(())
    }

    /// `(*UTF)` and its like change nothing here; the other verbs steer backtracking.
    fn verb(&mut self) -> Result<(), QueryError> {
        let mut name = String::new();
        for letter in self.rest.by_ref() {
            if letter == ')' {
                break;
            }
            name.push(letter);
        }
        match name.as_str() {
            "*UTF" | "*UTF8" | "*NO_JIT" | "*LF" => Ok(()),
            "*UCP" => {
                self.unicode = true;
                Ok(())
            }
            _ => Err(invalid(format!("({name}) is not supported"))),
        }
    }

    fn class(&mut self) -> Result<(), QueryError> {
        self.output.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.output.push('^');
        }
        // A closing bracket in the first place is a letter.
        let mut item = match self.rest.next_if_eq(&']') {
            Some(letter) => Some(ClassItem::Letter(letter)),
            None => self.class_item()?,
        };
        let mut empty = true;
        while let Some(current) = item {
            item = self.class_item()?;
            match current {
                ClassItem::Nothing => continue,
                ClassItem::Set(set) => self.output.push_str(&set),
                ClassItem::Letter(first) => {
                    if matches!(item, Some(ClassItem::Letter('-'))) && self.dash_is_plain() {
                        match self.class_item()? {
                            Some(ClassItem::Letter(last)) if first <= last => {
                                push_class_letter(&mut self.output, first);
                                self.output.push('-');
                                push_class_letter(&mut self.output, last);
                                item = self.class_item()?;
                            }
                            Some(ClassItem::Letter(_)) => {
                                return Err(invalid("range out of order in character class"));
                            }
                            other => {
                                push_class_letter(&mut self.output, first);
                                push_class_letter(&mut self.output, '-');
                                item = other;
                            }
                        }
                    } else {
                        push_class_letter(&mut self.output, first);
                    }
                }
            }
            empty = false;
        }
        if empty {
            return Err(invalid("empty character class"));
        }
        self.output.push(']');
        Ok(())
    }

    /// Whether the dash just read makes a range: something other than the end of the class follows it.
    fn dash_is_plain(&mut self) -> bool {
        self.rest.peek().is_some_and(|letter| *letter != ']')
    }

    /// The next item of a class, none at its end.
    fn class_item(&mut self) -> Result<Option<ClassItem>, QueryError> {
        let letter = self.rest.next().ok_or_else(|| invalid("missing terminating ] for character class"))?;
        Ok(Some(match letter {
            ']' => return Ok(None),
            '[' if self.rest.peek() == Some(&':') => {
                self.posix().map_or(ClassItem::Letter('['), ClassItem::Set)
            }
            '\\' => {
                let letter = self.rest.next().ok_or_else(|| invalid("\\ at the end of the pattern"))?;
                match letter {
                    'd' | 'w' | 's' | 'D' | 'W' | 'S' if self.unicode => {
                        ClassItem::Set(format!("\\{letter}"))
                    }
                    'd' => ClassItem::Set(DIGIT.to_owned()),
                    'w' => ClassItem::Set(WORD.to_owned()),
                    's' => ClassItem::Set(SPACE.to_owned()),
                    'D' | 'W' | 'S' | 'H' | 'V' | 'h' | 'v' => {
                        ClassItem::Set(letter_set(letter).unwrap_or_default())
                    }
                    'b' => ClassItem::Letter('\x08'),
                    'Q' => {
                        let mut set = String::new();
                        while let Some(letter) = self.quoted() {
                            push_class_letter(&mut set, letter);
                        }
                        ClassItem::Set(set)
                    }
                    'E' => ClassItem::Nothing,
                    'p' | 'P' => ClassItem::Set(self.property(letter)?),
                    '1'..='7' => {
                        let digit = letter.to_digit(8).unwrap_or(0);
                        let mut code = digit;
                        for _ in 0..2 {
                            match self
                                .rest
                                .next_if(|letter| letter.is_digit(8))
                                .and_then(|digit| digit.to_digit(8))
                            {
                                Some(digit) => code = code * 8 + digit,
                                None => break,
                            }
                        }
                        ClassItem::Letter(char::from_u32(code).ok_or_else(|| invalid("invalid code point"))?)
                    }
                    letter => ClassItem::Letter(self.escaped_letter(letter)?),
                }
            }
            letter => ClassItem::Letter(letter),
        }))
    }

    /// `[:alpha:]`, with the opening bracket read; none if it is no such name.
    fn posix(&mut self) -> Option<String> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        let mut ahead = self.rest.clone();
        ahead.next();
        let mut text = String::from("[:");
        let mut name = String::new();
        if ahead.next_if_eq(&'^').is_some() {
            text.push('^');
        }
        while let Some(letter) = ahead.next_if(char::is_ascii_lowercase) {
            name.push(letter);
        }
        if !NAMES.contains(&name.as_str()) || ahead.next() != Some(':') || ahead.next() != Some(']') {
            return None;
        }
        self.rest = ahead;
        Some(text + &name + ":]")
    }
}

/// The class that an escape for a set of letters stands for.
fn letter_set(letter: char) -> Option<String> {
    Some(match letter {
        'D' => format!("[^{DIGIT}]"),
        'W' => format!("[^{WORD}]"),
        'S' => format!("[^{SPACE}]"),
        'h' => format!("[{HORIZONTAL}]"),
        'H' => format!("[^{HORIZONTAL}]"),
        'v' => format!("[{VERTICAL}]"),
        'V' => format!("[^{VERTICAL}]"),
        'N' => r"[^\n]".to_owned(),
        _ => return None,
    })
}

fn push_literal(output: &mut String, letter: char) {
    if letter.is_ascii() && !letter.is_ascii_alphanumeric() && letter != '_' && letter != ' ' {
        push_code(output, letter);
    } else {
        output.push(letter);
    }
}

fn push_class_letter(output: &mut String, letter: char) {
    if letter.is_alphanumeric() {
        output.push(letter);
    } else {
        push_code(output, letter);
    }
}

fn push_code(output: &mut String, letter: char) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = write!(output, r"\x{{{:X}}}", u32::from(letter));
}
