use std::fmt;

use super::channel::{CHANNEL_BYTES_MAX, ChannelName};

/// A channel template such as `orders:{id}`: literal text and `{column}` parameters.
///
/// One grammar for both uses: a route fills it from a row, a family matches names against it.
/// A parameter matches one or more characters up to the first occurrence of the literal that
/// follows it; the last one, if nothing follows, takes the rest. Two parameters never touch.
/// `rowcast.parse_template` in SQL accepts exactly the same texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    parts: Box<[Part]>,
    /// More specific families within this one: what they match is theirs.
    except: Box<[Pattern]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Literal(Box<str>),
    Param(Box<str>),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    #[error("a channel template must be 1 to {CHANNEL_BYTES_MAX} bytes long")]
    Length,
    #[error("a channel template must not contain control characters")]
    Control,
    #[error("'{{' and '}}' must come in pairs around a column name")]
    Braces,
    #[error("there must be text between two parameters of a channel template")]
    Touching,
    #[error("a parameter may occur once in a channel template: {0}")]
    Twice(String),
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > CHANNEL_BYTES_MAX {
            return Err(PatternError::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let literal = &rest[..rest.find(['{', '}']).unwrap_or(rest.len())];
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
                rest = &rest[literal.len()..];
                continue;
            }
            let inner = rest.strip_prefix('{').ok_or(PatternError::Braces)?;
            let end = inner.find(['{', '}']).ok_or(PatternError::Braces)?;
            if end == 0 || inner.as_bytes()[end] != b'}' {
                return Err(PatternError::Braces);
            }
            if matches!(parts.last(), Some(Part::Param(_))) {
                return Err(PatternError::Touching);
            }
            let param = Part::Param(inner[..end].into());
            if parts.contains(&param) {
                return Err(PatternError::Twice(inner[..end].into()));
            }
            parts.push(param);
            rest = &inner[end + 1..];
        }
        Ok(Self { text: text.into(), parts: parts.into(), except: Box::default() })
    }

    /// The same, but what one of `others` matches does not match.
    pub fn except(self, others: Vec<Pattern>) -> Self {
        Self { except: others.into(), ..self }
    }

    /// Those of the `families` whose channels it does not speak of, though it matches their names: where it has the shape
    /// of one itself, the more specific ones. (`student:{id}` is about students, and not about `student:{id}:grades`.)
    pub fn besides<'f>(&self, families: &'f [Pattern]) -> impl Iterator<Item = &'f Pattern> {
        let own = families.iter().any(|family| family.has_shape_of(self));
        let rank = |pattern: &Pattern| (pattern.literal_bytes(), pattern.prefix().len());
        let mine = rank(self);
        families.iter().filter(move |family| own && rank(family) > mine)
    }

    fn has_shape_of(&self, other: &Pattern) -> bool {
        let same = |pair: (&Part, &Part)| match pair {
            (Part::Literal(a), Part::Literal(b)) => a == b,
            (Part::Param(_), Part::Param(_)) => true,
            _ => false,
        };
        self.parts.len() == other.parts.len() && self.parts.iter().zip(&other.parts).all(same)
    }

    /// Is every name of this shape its own?
    pub fn is_alone(&self) -> bool {
        self.except.is_empty()
    }

    /// The literal text that it begins with.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(l)) => l,
            _ => "",
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parameters' names, in the order in which they stand.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| match p {
            Part::Param(name) => Some(&**name),
            Part::Literal(_) => None,
        })
    }

    /// Bytes of literal text: of two patterns that match a name, the one with more is more specific.
    pub fn literal_bytes(&self) -> usize {
        self.parts.iter().map(|p| if let Part::Literal(l) = p { l.len() } else { 0 }).sum()
    }

    /// The template with nameless parameters (`orders:{}`). Two of one shape describe the same family of
    /// channels, whatever their parameters are called.
    pub fn shape(&self) -> String {
        let part = |p: &Part| match p {
            Part::Literal(l) => l.to_string(),
            Part::Param(_) => "{}".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// The parameters' values in `name`, or `None` where it does not match.
    pub fn matches<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let theirs = || self.except.iter().any(|p| p.matches(name).is_some());
        self.values(name).filter(|_| !theirs())
    }

    /// The same, whoever else matches it.
    fn values<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut values = Vec::new();
        let mut rest = name;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(l) => rest = rest.strip_prefix(&**l)?,
                Part::Param(_) => {
                    let end = match parts.peek() {
                        Some(Part::Literal(l)) => {
                            // A closing literal must close the name; one in the middle ends the value.
                            let last = parts.clone().count() == 1;
                            let from = rest.chars().next()?.len_utf8();
                            if last {
                                rest.strip_suffix(&**l).map(str::len).filter(|&n| n >= from)?
                            } else {
                                from + rest[from..].find(&**l)?
                            }
                        }
                        _ => rest.len(),
                    };
                    if end == 0 {
                        return None;
                    }
                    values.push(&rest[..end]);
                    rest = &rest[end..];
                }
            }
        }
        rest.is_empty().then_some(values)
    }

    /// The channel's name with `value(i, parameter)` in place of the i-th parameter. `None` where a value is
    /// missing or empty (SQL null: the row has no such channel), the result is no valid name, or it would be read
    /// with other values: of `doc:{owner}:{id}`, the owner `a:b` must not come out in a channel of the owner `a`. Nor
    /// is it what is excepted.
    pub fn fill<S: AsRef<str>>(&self, mut value: impl FnMut(usize, &str) -> Option<S>) -> Option<ChannelName> {
        // On the stack: this is done for each row of the log.
        let mut name = [0; CHANNEL_BYTES_MAX];
        let (mut bytes, mut i) = (0, 0);
        let push = |name: &mut [u8], bytes: &mut usize, text: &str| {
            name.get_mut(*bytes..*bytes + text.len())?.copy_from_slice(text.as_bytes());
            *bytes += text.len();
            Some(())
        };
        // A single parameter can only be read as it was written.
        let ambiguous = self.params().nth(1).is_some();
        let mut places = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(l) => push(&mut name, &mut bytes, l)?,
                Part::Param(p) => {
                    let v = value(i, p)?;
                    if v.as_ref().is_empty() {
                        return None;
                    }
                    let from = bytes;
                    push(&mut name, &mut bytes, v.as_ref())?;
                    i += 1;
                    if ambiguous {
                        places.push(from..bytes);
                    }
                }
            }
        }
        let name = std::str::from_utf8(&name[..bytes]).ok()?;
        if ambiguous && !self.values(name)?.into_iter().eq(places.into_iter().map(|place| &name[place])) {
            return None;
        }
        if self.except.iter().any(|other| other.matches(name).is_some()) {
            return None;
        }
        ChannelName::new(name).ok()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_checked() {
        let cases = [
            ("rates", None),
            ("orders:{id}", None),
            ("{a}/{b}", None),
            ("a:{Order ID}:b", None),
            ("", Some(PatternError::Length)),
            ("a{", Some(PatternError::Braces)),
            ("a}", Some(PatternError::Braces)),
            ("a{}", Some(PatternError::Braces)),
            ("a{b{c}}", Some(PatternError::Braces)),
            ("{a}{b}", Some(PatternError::Touching)),
            ("{a}-{a}", Some(PatternError::Twice("a".into()))),
            ("a\t{b}", Some(PatternError::Control)),
        ];
        for (text, error) in cases {
            assert_eq!(Pattern::parse(text).err(), error, "{text}");
        }
    }

    #[test]
    fn names_match_and_give_their_values() {
        let cases: [(&str, &str, Option<&[&str]>); 12] = [
            ("rates", "rates", Some(&[])),
            ("rates", "rates2", None),
            ("orders:{id}", "orders:12", Some(&["12"])),
            ("orders:{id}", "orders:", None),
            ("orders:{id}", "orders:a:b", Some(&["a:b"])),
            ("{a}/{b}", "x/y/z", Some(&["x", "y/z"])),
            ("{a}/{b}", "/y", None),
            ("{a}!", "x!y!", Some(&["x!y"])),
            ("{a}!", "x", None),
            ("{a}!", "!", None),
            ("{a}-{b}!", "ü-ö!", Some(&["ü", "ö"])),
            ("pair:{from}_{to}", "pair:USD_NGN", Some(&["USD", "NGN"])),
        ];
        for (pattern, name, values) in cases {
            let pattern = Pattern::parse(pattern).expect(pattern);
            assert_eq!(pattern.matches(name).as_deref(), values, "{pattern} on {name}");
        }
    }

    #[test]
    fn what_a_more_specific_pattern_matches_is_excepted() {
        let parse = |text: &str| Pattern::parse(text).expect(text);
        let students = parse("student:{id}").except(vec![parse("student:{id}:grades"), parse("student:all")]);
        for (name, matches) in
            [("student:5", true), ("student:5:grades", false), ("student:all", false), ("student:5:x", true)]
        {
            assert_eq!(students.matches(name).is_some(), matches, "{name}");
            let filled = students.fill(|_, _| name.strip_prefix("student:"));
            assert_eq!(filled.is_some(), matches, "{name}");
        }
    }

    #[test]
    fn a_familys_pattern_speaks_of_that_family() {
        let parse = |text: &&str| Pattern::parse(text).expect(text);
        let families = ["student:{id}", "student:{id}:grades", "student:all", "doc:{path}"].each_ref().map(parse);
        for (pattern, name, speaks) in [
            ("student:{id}", "student:5", true),
            ("student:{who}", "student:5:grades", false),
            ("student:{id}", "student:all", false),
            ("student:{id}:grades", "student:5:grades", true),
            // Nobody's: a key with a separator.
            ("student:{id}", "student:5:marks", true),
            ("doc:{path}", "doc:a:b:c", true),
            // Not a family's, and so about whatever it matches.
            ("{anything}", "student:5:grades", true),
            ("student:{id}:{what}", "student:5:grades", true),
            ("student:5{rest}", "student:5:grades", true),
        ] {
            let pattern = Pattern::parse(pattern).expect(pattern);
            let others = pattern.besides(&families).cloned().collect();
            assert_eq!(pattern.clone().except(others).matches(name).is_some(), speaks, "{pattern} of {name}");
        }
    }

    #[test]
    fn the_shape_forgets_the_names() {
        for (text, shape) in [("rates", "rates"), ("o:{id}", "o:{}"), ("{a}/{b}!", "{}/{}!")] {
            assert_eq!(Pattern::parse(text).expect(text).shape(), shape);
        }
    }

    #[test]
    fn filling_refuses_null_and_invalid_names() {
        let p = Pattern::parse("o:{a}-{b}").expect("valid");
        assert_eq!(p.fill(|i, _| Some(["1", "x"][i])).expect("valid").as_str(), "o:1-x");
        assert_eq!(p.fill(|i, _| [Some("1"), None][i]), None);
        assert_eq!(p.fill(|i, _| Some(["1", ""][i])), None);
        assert_eq!(p.fill(|i, _| Some(["1", "a\nb"][i])), None);
        assert_eq!(p.fill(|_, _| Some("x".repeat(200))), None);
    }

    #[test]
    fn a_value_does_not_become_another_by_its_separators() {
        for (pattern, values, name) in [
            ("doc:{owner}:{id}", ["eve", "1"], Some("doc:eve:1")),
            ("doc:{owner}:{id}", ["eve", "x:1"], Some("doc:eve:x:1")),
            ("doc:{owner}:{id}", ["eve:x", "1"], None),
            ("doc:{owner}:{id}", [":", "1"], Some("doc:::1")),
            ("doc:{owner}:{id}", ["eve:", "1"], None),
            ("{a}-{b}!", ["x", "y!"], Some("x-y!!")),
            ("{a}-{b}!", ["ü-", "y"], None),
        ] {
            let filled = Pattern::parse(pattern).expect(pattern).fill(|i, _| Some(values[i]));
            assert_eq!(filled.as_ref().map(ChannelName::as_str), name, "{pattern} {values:?}");
        }
        let one = Pattern::parse("o:{id}!").expect("valid");
        assert_eq!(one.fill(|_, _| Some("a!:b")).expect("one value").as_str(), "o:a!:b!");
    }
}
