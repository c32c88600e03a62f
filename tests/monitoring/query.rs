//! Reading PromQL as far as it takes to know which series a query needs.
//!
//! Invariant: what it does not know it refuses, rather than to read over it. It knows no metric, and does not care whether
//! Prometheus would evaluate the query: that is tried with a real one.

use std::collections::BTreeSet;

/// A metric as a query names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
    /// Labels by which what is selected is grouped.
    pub(crate) grouped_by: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    /// What it lists, whether these are wanted or not; none where it is a variable of the dashboard.
    pub(crate) values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name of a metric, a label or a function, or a keyword.
    Word(String),
    Text(String),
    Number,
    /// What stands in square brackets.
    Range,
    Sign(char),
}

/// Words that are no metrics although no parenthesis follows.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// Words that are followed by labels in parentheses.
const MATCHINGS: [&str; 4] = ["on", "ignoring", "group_left", "group_right"];

/// Every metric that `query` names.
///
/// # Errors
/// When there is something in it that is not known here.
pub(crate) fn selectors(query: &str) -> Result<Vec<Selector>, String> {
    let tokens = tokens(query)?;
    let mut reader = Reader {
        tokens: &tokens,
        open: Vec::new(),
        found: Vec::new(),
    };
    while !reader.tokens.is_empty() {
        reader.step().map_err(|error| format!("{error} in {query}"))?;
    }
    match reader.open.is_empty() {
        true => Ok(reader.found),
        false => Err(format!("an open parenthesis in {query}")),
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    /// For each open parenthesis the labels by which its content is grouped.
    open: Vec<BTreeSet<String>>,
    found: Vec<Selector>,
}

impl Reader<'_> {
    fn step(&mut self) -> Result<(), String> {
        match self.next()? {
            Token::Word(word) if word == "by" => self.grouping(),
            Token::Word(word) if MATCHINGS.contains(&word.as_str()) => self.matching(&word),
            Token::Word(word) if OPERATORS.contains(&word.as_str()) => self.offset(&word),
            Token::Word(word) if word == "without" => Err("without".into()),
            Token::Word(word) => self.metric_or_function(word),
            Token::Sign('(') => {
                self.open.push(BTreeSet::new());
                Ok(())
            }
            Token::Sign(')') => self.open.pop().map(drop).ok_or("a lone )".into()),
            Token::Sign('{') => Err("a selector without a metric".into()),
            Token::Text(_) => Err("a text".into()),
            Token::Number | Token::Range | Token::Sign(_) => Ok(()),
        }
    }

    fn next(&mut self) -> Result<Token, String> {
        let (first, rest) = self.tokens.split_first().ok_or("a query that breaks off")?;
        self.tokens = rest;
        Ok(first.clone())
    }

    fn next_is(&self, sign: char) -> bool {
        self.tokens.first() == Some(&Token::Sign(sign))
    }

    fn expect(&mut self, sign: char) -> Result<(), String> {
        match self.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(format!("{other:?} where {sign} is expected")),
        }
    }

    /// `by (a, b) (`: the only place for it that is known here.
    fn grouping(&mut self) -> Result<(), String> {
        let labels = self.labels()?;
        self.expect('(')?;
        self.open.push(labels);
        Ok(())
    }

    fn matching(&mut self, word: &str) -> Result<(), String> {
        if word.starts_with("group_") && !self.next_is('(') {
            return Ok(());
        }
        self.labels().map(drop)
    }

    /// A number of hours follows it, which is read as a word.
    fn offset(&mut self, word: &str) -> Result<(), String> {
        match word {
            "offset" => self.next().map(drop),
            _ => Ok(()),
        }
    }

    fn labels(&mut self) -> Result<BTreeSet<String>, String> {
        self.expect('(')?;
        let mut labels = BTreeSet::new();
        loop {
            match self.next()? {
                Token::Word(label) => labels.insert(label),
                Token::Sign(',') => continue,
                Token::Sign(')') => return Ok(labels),
                other => return Err(format!("{other:?} among labels")),
            };
        }
    }

    fn metric_or_function(&mut self, word: String) -> Result<(), String> {
        let is_function = self.next_is('(') || self.tokens.first() == Some(&Token::Word("by".into()));
        if is_function {
            return Ok(());
        }
        let matchers = match self.next_is('{') {
            true => self.matchers()?,
            false => Vec::new(),
        };
        self.found.push(Selector {
            metric: word,
            matchers,
            grouped_by: self.open.iter().flatten().cloned().collect(),
        });
        Ok(())
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, String> {
        self.expect('{')?;
        let mut matchers = Vec::new();
        loop {
            match self.next()? {
                Token::Word(label) => matchers.push(self.matcher(label)?),
                Token::Sign(',') => {}
                Token::Sign('}') => return Ok(matchers),
                other => return Err(format!("{other:?} among matchers")),
            }
        }
    }

    fn matcher(&mut self, label: String) -> Result<Matcher, String> {
        let operator = (self.next()?, self.tokens.first().cloned());
        match operator {
            (Token::Sign('!'), Some(Token::Sign('=' | '~'))) | (Token::Sign('='), Some(Token::Sign('~'))) => {
                self.next()?;
            }
            (Token::Sign('='), _) => {}
            other => return Err(format!("{other:?} after the label {label}")),
        }
        match self.next()? {
            Token::Text(text) => Ok(Matcher {
                label,
                values: values(&text)?,
            }),
            other => Err(format!("{other:?} where a text is expected")),
        }
    }
}

/// `a|b` lists two, `$route` is a variable, and no other regular expression is known here.
fn values(text: &str) -> Result<Vec<String>, String> {
    if text.starts_with('$') {
        return Ok(Vec::new());
    }
    let is_name = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_plain = |value: &str| is_name(value) || value.parse::<f64>().is_ok();
    match text.split('|').all(is_plain) {
        true => Ok(text.split('|').map(str::to_owned).collect()),
        false => Err(format!("the expression {text:?}")),
    }
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' => quoted(rest)?,
            '[' => {
                let end = rest.find(']').ok_or("an open bracket")?;
                (Token::Range, end + 1)
            }
            '0'..='9' => (
                Token::Number,
                length_while(rest, |c| c.is_ascii_alphanumeric() || c == '.'),
            ),
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = length_while(rest, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
                (Token::Word(rest[..length].to_owned()), length)
            }
            '(' | ')' | '{' | '}' | ',' | '=' | '!' | '~' | '<' | '>' | '+' | '-' | '*' | '/' => {
                (Token::Sign(first), 1)
            }
            _ => return Err(format!("{first:?} in {query}")),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn quoted(rest: &str) -> Result<(Token, usize), String> {
    let length = rest[1..].find('"').ok_or("an open quotation")?;
    let text = &rest[1..1 + length];
    match text.contains('\\') {
        true => Err(format!("an escape in {text:?}")),
        false => Ok((Token::Text(text.to_owned()), length + 2)),
    }
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[test]
fn metrics_are_found_with_their_matchers_and_the_labels_they_are_grouped_by() {
    let query = "histogram_quantile(0.99, sum by (route, le) (rate(a_bucket{outcome!~\"x|y\", route=~\"$route\"}[5m])))
        / on (instance) group_left b offset 1h > 14.4 * 0.01 and time() - max by (k) (c:d:e > 0) <= 2";
    let matcher = |label: &str, values: &[&str]| Matcher {
        label: label.into(),
        values: values.iter().map(|value| (*value).into()).collect(),
    };
    let selector = |metric: &str, matchers: Vec<Matcher>, labels: &[&str]| Selector {
        metric: metric.into(),
        matchers,
        grouped_by: labels.iter().map(|label| (*label).into()).collect(),
    };
    let expected = [
        selector(
            "a_bucket",
            vec![matcher("outcome", &["x", "y"]), matcher("route", &[])],
            &["route", "le"],
        ),
        selector("b", vec![], &[]),
        selector("c:d:e", vec![], &["k"]),
    ];
    assert_eq!(selectors(query).unwrap(), expected);
    assert_eq!(selectors("up{job=\"aquatint\"} == 0").unwrap().len(), 1);
}

#[test]
fn what_is_not_known_here_is_refused() {
    for query in [
        "sum(a) by (b)",
        "sum without (b) (a)",
        "{__name__=\"a\"}",
        "a{b=~\".+\"}",
        "a{b=\"\\\"\"}",
        "a{b}",
        "a{b=\"c\"",
        "sum(a",
        "a)",
        "a @ 1",
        "a{b=\"c}",
        "sum by b (a)",
        "label_replace(a, \"x\", \"y\", \"z\", \"w\")",
    ] {
        assert!(selectors(query).is_err(), "{query}");
    }
}
