//! Literals of every type but binary, for which there are only parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Parser, PartiqlError, invalid, malformed};
use crate::item::value::NESTING_MAX;
use crate::item::{Number, Value};

const TOO_DEEP: &str = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit";

/// How messages name the value of an attribute; parts of it follow.
const ROOT: &str = "root";

impl Parser<'_> {
    /// Whether a literal or a parameter comes next.
    pub(super) fn at_value(&self) -> bool {
        let token = self.peek();
        match token.kind {
            Kind::Text(_) | Kind::Number => true,
            Kind::Symbol => matches!(token.text, "?" | "[" | "{" | "<<" | "-" | "+"),
            Kind::Word => ["TRUE", "FALSE", "NULL"].iter().any(|w| token.is_word(w)),
            Kind::Quoted(_) | Kind::End => false,
        }
    }

    /// A literal or a parameter.
    pub(super) fn value(&mut self) -> Result<Value, PartiqlError> {
        let value = self.part(ROOT, 0)?;
        // A parameter inside a literal may bring levels of its own.
        if value.nested_beyond(NESTING_MAX) {
            return Err(invalid(TOO_DEEP));
        }
        Ok(value)
    }

    /// The tuple of an INSERT, each of whose attributes is a root of its own.
    pub(super) fn item(&mut self) -> Result<Value, PartiqlError> {
        if !self.eat_symbol("{") {
            return self.value();
        }
        let item = self.fields(None, 0)?;
        if item.values().any(|value| value.nested_beyond(NESTING_MAX)) {
            return Err(invalid(TOO_DEEP));
        }
        Ok(Value::M(item))
    }

    /// A value inside `depth` others; `under` is where.
    fn part(&mut self, under: &str, depth: usize) -> Result<Value, PartiqlError> {
        if self.at_call() {
            let name = self.peek().text.to_ascii_lowercase();
            let position = self.peek().position();
            return Err(invalid(format!(
                "Unsupported data type: {name} under key {under} at {position}"
            )));
        }
        let token = self.next();
        match token.kind {
            Kind::Text(text) => Ok(Value::S(text)),
            Kind::Number => number(token.text, false, under),
            Kind::Symbol => match token.text {
                "?" => self.parameter(),
                sign @ ("-" | "+") if self.peek().kind == Kind::Number => {
                    number(self.next().text, sign == "-", under)
                }
                "[" | "{" if depth >= NESTING_MAX => Err(invalid(TOO_DEEP)),
                "[" => self.list(under, depth).map(Value::L),
                "{" => self.fields(Some(under), depth).map(Value::M),
                "<<" => self.set(under),
                _ => Err(malformed("Unexpected term")),
            },
            _ if token.is_word("TRUE") => Ok(Value::Bool(true)),
            _ if token.is_word("FALSE") => Ok(Value::Bool(false)),
            _ if token.is_word("NULL") => Ok(Value::Null),
            _ => Err(malformed("Unexpected term")),
        }
    }

    fn list(&mut self, under: &str, depth: usize) -> Result<Vec<Value>, PartiqlError> {
        let mut list = Vec::new();
        if self.eat_symbol("]") {
            return Ok(list);
        }
        loop {
            let under = format!("{under}[{}]", list.len());
            list.push(self.part(&under, depth + 1)?);
            if !self.eat_symbol(",") {
                self.expect_symbol("]")?;
                return Ok(list);
            }
        }
    }

    /// The fields of a tuple. `under` is none for an item, whose attributes do not show in messages.
    fn fields(
        &mut self,
        under: Option<&str>,
        depth: usize,
    ) -> Result<BTreeMap<String, Value>, PartiqlError> {
        let mut fields = BTreeMap::new();
        if self.eat_symbol("}") {
            return Ok(fields);
        }
        loop {
            let Kind::Text(name) = self.next().kind else {
                return Err(malformed(
                    "Expected a string literal as the name of a field",
                ));
            };
            self.expect_symbol(":")?;
            let (inside, depth) = match under {
                Some(under) => (format!("{under}.{name}"), depth + 1),
                None => (ROOT.to_owned(), depth),
            };
            let value = self.part(&inside, depth)?;
            if fields.insert(name.clone(), value).is_some() {
                return Err(invalid(format!("Duplicate field in a tuple: {name}")));
            }
            if !self.eat_symbol(",") {
                self.expect_symbol("}")?;
                return Ok(fields);
            }
        }
    }

    fn set(&mut self, under: &str) -> Result<Value, PartiqlError> {
        if self.eat_symbol(">>") {
            return Err(invalid("Empty bags are not supported"));
        }
        let mut members = Vec::new();
        loop {
            let token = self.peek();
            let scalar = matches!(token.kind, Kind::Text(_) | Kind::Number)
                || token.is_symbol("-")
                || token.is_symbol("+");
            if !scalar {
                let found = token.text.to_owned();
                let position = token.position();
                return Err(invalid(format!(
                    "Unsupported data type in a bag: {found} under key {under} at {position}"
                )));
            }
            members.push(self.part(under, NESTING_MAX)?);
            if !self.eat_symbol(",") {
                self.expect_symbol(">>")?;
                return set_of(members);
            }
        }
    }
}

fn set_of(members: Vec<Value>) -> Result<Value, PartiqlError> {
    let shown: Vec<String> = members
        .iter()
        .map(|member| match member {
            Value::S(text) => text.clone(),
            Value::N(number) => number.to_string(),
            other => other.type_name().to_owned(),
        })
        .collect();
    let count = members.len();
    let (mut strings, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut kinds = (false, false);
    for member in members {
        match member {
            Value::S(text) => {
                kinds.0 = true;
                strings.insert(text);
            }
            Value::N(number) => {
                kinds.1 = true;
                numbers.insert(number);
            }
            _ => return Err(malformed("Unexpected term")),
        }
    }
    if kinds == (true, true) {
        return Err(invalid(
            "Bags with values of different types are not supported",
        ));
    }
    if strings.len() + numbers.len() < count {
        return Err(invalid(format!(
            "One or more parameter values were invalid: Input collection [{}] contains duplicates.",
            shown.join(", ")
        )));
    }
    Ok(if kinds.0 {
        Value::Ss(strings)
    } else {
        Value::Ns(numbers)
    })
}

/// A number literal. One whose exponent or scale is no 32-bit integer is no number at all.
fn number(text: &str, negative: bool, under: &str) -> Result<Value, PartiqlError> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| malformed(""))?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    i32::try_from(digits.saturating_sub(i64::from(exponent))).map_err(|_| malformed(""))?;
    let sign = if negative { "-" } else { "" };
    let plain = format!("{sign}0{whole}.{fraction}0e{exponent}");
    let number =
        Number::parse(&plain).map_err(|error| invalid(format!("{error} under {under}")))?;
    Ok(Value::N(number))
}
