//! Legacy parameters become the trees of expressions (expressions.md section 9).
//!
//! Names are whole top-level attributes: dots are literal and no word is reserved. The translations
//! carry the legacy rules that differ: fewer types are admitted, and `NOT_CONTAINS` wants the attribute
//! to exist.

mod shape;
mod updates;

use serde_json::{Map, Value as Json};

use super::ast::{Comparator, Condition, KeyClause, KeyPredicate, Operand, Path};
use super::eval::order;
use crate::item::Value;
use shape::Decoded;

pub use updates::attribute_updates_to_update;

/// Why a legacy parameter was refused; the text is DynamoDB's, complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// JSON of the wrong shape.
    #[error("{0}")]
    Serialization(String),
    #[error("{0}")]
    Validation(String),
}

/// Which filter parameter is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyFilter {
    Query,
    Scan,
}

impl LegacyFilter {
    fn member(self) -> &'static str {
        match self {
            LegacyFilter::Query => "queryFilter",
            LegacyFilter::Scan => "scanFilter",
        }
    }
}

/// Attributes in the longest key: four HASH and four RANGE.
const KEY_CONDITIONS_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    Null,
    Between,
    Lt,
    NotContains,
    Eq,
    Gt,
    NotNull,
    Ne,
    Le,
    BeginsWith,
    Ge,
    Contains,
}

/// In the order DynamoDB lists them.
const OPERATORS: [(&str, Operator); 13] = [
    ("IN", Operator::In),
    ("NULL", Operator::Null),
    ("BETWEEN", Operator::Between),
    ("LT", Operator::Lt),
    ("NOT_CONTAINS", Operator::NotContains),
    ("EQ", Operator::Eq),
    ("GT", Operator::Gt),
    ("NOT_NULL", Operator::NotNull),
    ("NE", Operator::Ne),
    ("LE", Operator::Le),
    ("BEGINS_WITH", Operator::BeginsWith),
    ("GE", Operator::Ge),
    ("CONTAINS", Operator::Contains),
];

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        OPERATORS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, op)| *op)
    }

    fn takes(self, arguments: usize) -> bool {
        match self {
            Operator::Null | Operator::NotNull => arguments == 0,
            Operator::In => arguments >= 1,
            Operator::Between => arguments == 2,
            _ => arguments == 1,
        }
    }

    fn admits(self, value: &Value) -> bool {
        match self {
            Operator::Eq | Operator::Ne | Operator::Null | Operator::NotNull => true,
            Operator::BeginsWith => matches!(value, Value::S(_) | Value::B(_)),
            _ => matches!(value, Value::S(_) | Value::N(_) | Value::B(_)),
        }
    }

    fn comparator(self) -> Option<Comparator> {
        match self {
            Operator::Eq => Some(Comparator::Eq),
            Operator::Ne => Some(Comparator::Ne),
            Operator::Lt => Some(Comparator::Lt),
            Operator::Le => Some(Comparator::Le),
            Operator::Gt => Some(Comparator::Gt),
            Operator::Ge => Some(Comparator::Ge),
            _ => None,
        }
    }
}

/// One entry of Expected, of a filter or of KeyConditions, well-formed but not yet checked.
struct Entry<'a> {
    attribute: &'a str,
    operator: Option<&'a str>,
    list: Option<Vec<Decoded>>,
    value: Option<Decoded>,
    exists: Option<bool>,
}

impl<'a> Entry<'a> {
    fn read(
        attribute: &'a str,
        json: &'a Map<String, Json>,
        expected: bool,
    ) -> Result<Self, LegacyError> {
        let own = |name| shape::member(json, name).filter(|_| expected);
        Ok(Entry {
            attribute,
            operator: shape::member(json, "ComparisonOperator")
                .map(shape::string)
                .transpose()?,
            list: shape::member(json, "AttributeValueList")
                .map(shape::values)
                .transpose()?,
            value: own("Value").map(shape::value).transpose()?,
            exists: own("Exists").map(shape::boolean).transpose()?,
        })
    }
}

fn invalid(message: impl std::fmt::Display) -> LegacyError {
    LegacyError::Validation(format!(
        "One or more parameter values were invalid: {message}"
    ))
}

/// `Expected` with `ConditionalOperator`. `None` when nothing is expected.
pub fn expected_to_condition(
    expected: Option<&Json>,
    conditional_operator: Option<&str>,
) -> Result<Option<Condition>, LegacyError> {
    let entries = read_entries(expected, "ExpectedAttributeValue")?;
    constraints(
        operator_violations("expected", &entries, false),
        conditional_operator,
    )?;
    let conditions = entries
        .into_iter()
        .map(expectation)
        .collect::<Result<Vec<_>, _>>()?;
    join(conditions, conditional_operator)
}

/// `QueryFilter` or `ScanFilter` with `ConditionalOperator`. `None` when nothing is filtered.
pub fn filter_to_condition(
    kind: LegacyFilter,
    filter: Option<&Json>,
    conditional_operator: Option<&str>,
) -> Result<Option<Condition>, LegacyError> {
    let entries = read_entries(filter, "Condition")?;
    constraints(
        operator_violations(kind.member(), &entries, true),
        conditional_operator,
    )?;
    let conditions = entries
        .into_iter()
        .map(comparison)
        .collect::<Result<Vec<_>, _>>()?;
    join(conditions, conditional_operator)
}

/// `KeyConditions`, to be bound to a schema like the clauses of a KeyConditionExpression.
pub fn key_conditions_to_clauses(conditions: &Json) -> Result<Vec<KeyClause>, LegacyError> {
    let entries = read_entries(Some(conditions), "Condition")?;
    constraints(operator_violations("keyConditions", &entries, true), None)?;
    let mut checked = Vec::with_capacity(entries.len());
    for entry in entries {
        let (attribute, operator, values) = arguments(entry)?;
        checked.push((attribute, operator, values));
    }
    // More than two only an index with a key of several attributes can tell.
    if !(1..=KEY_CONDITIONS_MAX).contains(&checked.len()) {
        return Err(LegacyError::Validation(
            "Conditions can be of length 1 or 2 only".into(),
        ));
    }
    let clause = |(attribute, operator, values): (&str, Operator, Vec<Value>)| KeyClause {
        attribute: attribute.to_string(),
        predicate: key_predicate(operator, values),
    };
    Ok(checked.into_iter().map(clause).collect())
}

fn read_entries<'a>(json: Option<&'a Json>, shape: &str) -> Result<Vec<Entry<'a>>, LegacyError> {
    let expected = shape == "ExpectedAttributeValue";
    let entries = shape::entries(json, shape)?.into_iter();
    entries
        .map(|(attribute, json)| Entry::read(attribute, json, expected))
        .collect()
}

fn operator_violations(member: &str, entries: &[Entry], required: bool) -> Vec<String> {
    let violation = |entry: &Entry| {
        let (value, constraint) = match entry.operator {
            Some(name) if Operator::parse(name).is_some() => return None,
            Some(name) => {
                let names = OPERATORS.map(|(name, _)| name).join(", ");
                (
                    format!("'{name}'"),
                    format!("Member must satisfy enum value set: [{names}]"),
                )
            }
            None if required => ("null".into(), "Member must not be null".into()),
            None => return None,
        };
        let attribute = entry.attribute;
        Some(format!(
            "Value {value} at '{member}.{attribute}.member.comparisonOperator' failed to satisfy constraint: {constraint}"
        ))
    };
    entries.iter().filter_map(violation).collect()
}

/// Violations of the service model, reported together before any other rule is looked at.
fn constraints(
    mut violations: Vec<String>,
    conditional_operator: Option<&str>,
) -> Result<(), LegacyError> {
    if let Some(other) = conditional_operator.filter(|name| !["OR", "AND"].contains(name)) {
        violations.push(format!(
            "Value '{other}' at 'conditionalOperator' failed to satisfy constraint: \
             Member must satisfy enum value set: [OR, AND]"
        ));
    }
    match violations.len() {
        0 => Ok(()),
        count => {
            let plural = if count == 1 { "" } else { "s" };
            let list = violations.join("; ");
            Err(LegacyError::Validation(format!(
                "{count} validation error{plural} detected: {list}"
            )))
        }
    }
}

/// One entry of Expected: a comparison, or the older `Value` and `Exists`.
fn expectation(entry: Entry) -> Result<Condition, LegacyError> {
    let attribute = entry.attribute;
    let about = |message: &str| Err(invalid(format!("{message} for Attribute: {attribute}")));
    if entry.list.is_some() && entry.value.is_some() {
        return about("Value and AttributeValueList cannot be used together");
    }
    if let Some(operator) = entry.operator {
        if entry.exists.is_some() {
            return about("Exists and ComparisonOperator cannot be used together");
        }
        let bare = entry.list.is_none() && entry.value.is_none();
        if bare && !["NULL", "NOT_NULL"].contains(&operator) {
            return about(&format!(
                "Value or AttributeValueList must be used with ComparisonOperator: {operator}"
            ));
        }
        return comparison(entry);
    }
    if entry.list.is_some() {
        return about("AttributeValueList can only be used with a ComparisonOperator");
    }
    match (entry.exists, entry.value) {
        (Some(false), None) => Ok(Condition::NotExists(Path::attribute(attribute))),
        (Some(false), Some(_)) => about("Value cannot be used when Exists is false"),
        (None, None) => about("Value must be provided when Exists is null"),
        (Some(true), None) => about("Value must be provided when Exists is true"),
        (_, Some(value)) => {
            let value = value.map_err(LegacyError::Validation)?;
            Ok(compare(attribute, Comparator::Eq, value))
        }
    }
}

/// Checks the arguments of an entry with a ComparisonOperator: values, count, types, order of bounds.
fn arguments(entry: Entry<'_>) -> Result<(&str, Operator, Vec<Value>), LegacyError> {
    let name = entry.operator.unwrap_or_default();
    // Names were checked with the constraints, so only a bug here could make this fail.
    let operator = Operator::parse(name).ok_or_else(|| invalid("ComparisonOperator is missing"))?;
    let given = entry
        .list
        .unwrap_or_else(|| entry.value.into_iter().collect());
    let values = given
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(LegacyError::Validation)?;
    if !operator.takes(values.len()) {
        return Err(invalid(format!(
            "Invalid number of argument(s) for the {name} ComparisonOperator"
        )));
    }
    if values
        .windows(2)
        .any(|pair| pair.first().map(Value::type_name) != pair.last().map(Value::type_name))
    {
        return Err(invalid(
            "AttributeValues inside AttributeValueList must be of same type",
        ));
    }
    if let Some(value) = values.iter().find(|value| !operator.admits(value)) {
        let kind = value.type_name();
        return Err(invalid(format!(
            "ComparisonOperator {name} is not valid for {kind} AttributeValue type"
        )));
    }
    if let (Operator::Between, [low, high]) = (operator, values.as_slice())
        && order(low, high).is_some_and(|order| order.is_gt())
    {
        let text = "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound";
        return Err(LegacyError::Validation(text.into()));
    }
    Ok((entry.attribute, operator, values))
}

fn compare(attribute: &str, op: Comparator, value: Value) -> Condition {
    Condition::Compare {
        left: Operand::Path(Path::attribute(attribute)),
        op,
        right: Operand::Value(value),
    }
}

fn comparison(entry: Entry) -> Result<Condition, LegacyError> {
    let (attribute, operator, values) = arguments(entry)?;
    let path = || Path::attribute(attribute);
    let subject = || Operand::Path(path());
    let mut values = values.into_iter();
    if operator == Operator::In {
        return Ok(Condition::In {
            value: subject(),
            list: values.map(Operand::Value).collect(),
        });
    }
    Ok(match (operator, values.next(), values.next()) {
        (Operator::Null, ..) => Condition::NotExists(path()),
        (Operator::NotNull, ..) => Condition::Exists(path()),
        (Operator::BeginsWith, Some(value), _) => {
            Condition::BeginsWith(subject(), Operand::Value(value))
        }
        (Operator::Contains, Some(value), _) => {
            Condition::Contains(subject(), Operand::Value(value))
        }
        (Operator::NotContains, Some(value), _) => {
            let contains = Condition::Contains(subject(), Operand::Value(value));
            Condition::And(
                Box::new(Condition::Exists(path())),
                Box::new(Condition::Not(Box::new(contains))),
            )
        }
        (Operator::Between, Some(low), Some(high)) => Condition::Between {
            value: subject(),
            low: Operand::Value(low),
            high: Operand::Value(high),
        },
        (operator, Some(value), _) if operator.comparator().is_some() => {
            let op = operator.comparator().unwrap_or(Comparator::Eq);
            compare(attribute, op, value)
        }
        _ => return Err(invalid("Invalid number of argument(s)")),
    })
}

/// `None` for operators that cannot be answered from a key.
fn key_predicate(operator: Operator, values: Vec<Value>) -> Option<KeyPredicate> {
    let mut values = values.into_iter();
    match (operator, values.next()?, values.next()) {
        (Operator::Eq, value, None) => Some(KeyPredicate::Eq(value)),
        (Operator::Lt, value, None) => Some(KeyPredicate::Lt(value)),
        (Operator::Le, value, None) => Some(KeyPredicate::Le(value)),
        (Operator::Gt, value, None) => Some(KeyPredicate::Gt(value)),
        (Operator::Ge, value, None) => Some(KeyPredicate::Ge(value)),
        (Operator::BeginsWith, value, None) => Some(KeyPredicate::BeginsWith(value)),
        (Operator::Between, low, Some(high)) => Some(KeyPredicate::Between(low, high)),
        _ => None,
    }
}

/// Joins in pairs, so that the tree's depth grows with the logarithm of its size: unlike expressions
/// these maps have no limit but the request's, and evaluation recurses.
fn join(
    mut conditions: Vec<Condition>,
    conditional_operator: Option<&str>,
) -> Result<Option<Condition>, LegacyError> {
    if conditions.is_empty() && conditional_operator.is_some() {
        return Err(invalid(
            "ConditionalOperator cannot be used without Filter or Expected",
        ));
    }
    let or = conditional_operator == Some("OR");
    while conditions.len() > 1 {
        let mut pairs = conditions.into_iter();
        let mut joined = Vec::new();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                None => left,
                Some(right) if or => Condition::Or(Box::new(left), Box::new(right)),
                Some(right) => Condition::And(Box::new(left), Box::new(right)),
            });
        }
        conditions = joined;
    }
    Ok(conditions.pop())
}

#[cfg(test)]
mod tests;
