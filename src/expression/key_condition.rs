//! Key conditions: the condition grammar held to what a Query can do, then bound to a key schema
//! (expressions.md section 6).

use std::collections::BTreeMap;

use super::condition::{comparator_text, parse_condition};
use super::{
    Comparator, Condition, ExpressionError, ExpressionKind, KeyClause, KeyCondition, KeyPredicate,
    Operand, Path, Placeholders,
};
use crate::item::{KeyAttribute, KeySchema, Value};

/// Parses a KeyConditionExpression into its clauses, in the order written.
pub fn parse_key_condition(
    source: &str,
    placeholders: &mut Placeholders,
) -> Result<Vec<KeyClause>, ExpressionError> {
    let condition = parse_condition(ExpressionKind::KeyCondition, source, placeholders)?;
    key_clauses(condition)
}

/// The clauses of a parsed KeyConditionExpression, in the order written. DynamoDB parses the other
/// expressions of a request before it looks at what this one asks for.
pub fn key_clauses(condition: Condition) -> Result<Vec<KeyClause>, ExpressionError> {
    let mut clauses = Vec::new();
    collect(condition, &mut clauses)?;
    Ok(clauses)
}

/// Adds the clauses of `condition`, left to right. At most [`super::parser::OPERATORS_MAX`] deep.
fn collect(condition: Condition, clauses: &mut Vec<KeyClause>) -> Result<(), ExpressionError> {
    let clause = match condition {
        Condition::And(left, right) => {
            collect(*left, clauses)?;
            return collect(*right, clauses);
        }
        Condition::Or(..) => return Err(operator("OR")),
        Condition::Not(_) => return Err(operator("NOT")),
        Condition::In { .. } => return Err(operator("IN")),
        Condition::Exists(_) => return Err(operator("attribute_exists")),
        Condition::NotExists(_) => return Err(operator("attribute_not_exists")),
        Condition::HasType(..) => return Err(operator("attribute_type")),
        Condition::Contains(..) => return Err(operator("contains")),
        Condition::Compare {
            op: Comparator::Ne, ..
        } => return Err(operator(comparator_text(Comparator::Ne))),
        Condition::Compare { left, op, right } => comparison(left, op, right)?,
        Condition::Between { value, low, high } => {
            let attribute = subject("BETWEEN", value, [&low, &high])?;
            let predicate = KeyPredicate::Between(literal(low)?, literal(high)?);
            KeyClause {
                attribute,
                predicate: Some(predicate),
            }
        }
        Condition::BeginsWith(value, prefix) => {
            let attribute = subject("begins_with", value, [&prefix])?;
            KeyClause {
                attribute,
                predicate: Some(KeyPredicate::BeginsWith(literal(prefix)?)),
            }
        }
    };
    if clauses
        .iter()
        .any(|other| other.attribute == clause.attribute)
    {
        return Err(one_condition_per_key());
    }
    clauses.push(clause);
    Ok(())
}

fn comparison(left: Operand, op: Comparator, right: Operand) -> Result<KeyClause, ExpressionError> {
    let (path, op, value) = match (left, right) {
        (Operand::Size(_), _) => return Err(nested_operation()),
        (Operand::Path(path), Operand::Value(value)) => (path, op, value),
        (Operand::Path(path), other) => {
            top_level(path)?;
            return Err(not_a_literal(&other));
        }
        (Operand::Value(value), Operand::Path(path)) => (path, swapped(op), value),
        (Operand::Value(_), Operand::Size(_)) => return Err(nested_operation()),
        (Operand::Value(_), Operand::Value(_)) => {
            return Err(condition("No key attribute specified"));
        }
    };
    let predicate = match op {
        Comparator::Eq => KeyPredicate::Eq(value),
        Comparator::Ne => return Err(operator(comparator_text(op))),
        Comparator::Lt => KeyPredicate::Lt(value),
        Comparator::Le => KeyPredicate::Le(value),
        Comparator::Gt => KeyPredicate::Gt(value),
        Comparator::Ge => KeyPredicate::Ge(value),
    };
    Ok(KeyClause {
        attribute: top_level(path)?,
        predicate: Some(predicate),
    })
}

/// The comparator that says the same with the operands exchanged.
fn swapped(op: Comparator) -> Comparator {
    match op {
        Comparator::Lt => Comparator::Gt,
        Comparator::Le => Comparator::Ge,
        Comparator::Gt => Comparator::Lt,
        Comparator::Ge => Comparator::Le,
        Comparator::Eq | Comparator::Ne => op,
    }
}

/// The attribute that BETWEEN or `begins_with` asks about, once its other operands are literals.
fn subject<const N: usize>(
    operator: &str,
    first: Operand,
    rest: [&Operand; N],
) -> Result<String, ExpressionError> {
    let Operand::Path(path) = first else {
        return Err(condition(&format!(
            "{operator} operator must have the key attribute as its first operand"
        )));
    };
    let attribute = top_level(path)?;
    match rest
        .into_iter()
        .find(|operand| !matches!(operand, Operand::Value(_)))
    {
        Some(operand) => Err(not_a_literal(operand)),
        None => Ok(attribute),
    }
}

fn top_level(path: Path) -> Result<String, ExpressionError> {
    if path.steps.is_empty() {
        return Ok(path.root);
    }
    let detail = "KeyConditionExpressions cannot have conditions on nested attributes";
    Err(ExpressionKind::KeyCondition.invalid(detail))
}

fn literal(operand: Operand) -> Result<Value, ExpressionError> {
    match operand {
        Operand::Value(value) => Ok(value),
        other => Err(not_a_literal(&other)),
    }
}

fn not_a_literal(operand: &Operand) -> ExpressionError {
    match operand {
        Operand::Size(_) => nested_operation(),
        _ => condition("Multiple attribute names used in one condition"),
    }
}

fn operator(name: &str) -> ExpressionError {
    ExpressionError(format!(
        "Invalid operator used in KeyConditionExpression: {name}"
    ))
}

fn condition(detail: &str) -> ExpressionError {
    ExpressionError(format!(
        "Invalid condition in KeyConditionExpression: {detail}"
    ))
}

fn nested_operation() -> ExpressionError {
    ExpressionError("KeyConditionExpressions cannot contain nested operations".to_owned())
}

fn one_condition_per_key() -> ExpressionError {
    ExpressionError("KeyConditionExpressions must only contain one condition per key".to_owned())
}

fn not_supported() -> ExpressionError {
    ExpressionError("Query key condition not supported".to_owned())
}

fn missed(attribute: &KeyAttribute) -> ExpressionError {
    ExpressionError(format!(
        "Query condition missed key schema element: {}",
        attribute.name
    ))
}

fn not_indexable() -> ExpressionError {
    ExpressionError("Attempted conditional constraint is not an indexable operation".to_owned())
}

/// What is said of a missing condition, or one that is no equality, on a key of several attributes.
fn needs_equality(role: &str, attribute: &KeyAttribute, because: Option<&str>) -> ExpressionError {
    let reason = because
        .map(|later| format!(" because a condition is present on key attribute {later}"))
        .unwrap_or_default();
    ExpressionError(format!(
        "{role} key attributes {} must have equality conditions specified in the query{reason}",
        attribute.name
    ))
}

type Predicates = BTreeMap<String, Option<KeyPredicate>>;

/// Holds clauses against the key of a table or index: an equality for every partition attribute, then
/// conditions on the leading sort attributes, of which only the last may be a range.
pub fn bind_key_condition(
    clauses: Vec<KeyClause>,
    schema: &KeySchema,
) -> Result<KeyCondition, ExpressionError> {
    let key_attributes = schema.partition.len() + schema.sort.len();
    if clauses.len() > key_attributes.max(2) {
        return Err(ExpressionError(
            "Conditions can be of length 1 or 2 only".to_owned(),
        ));
    }
    if clauses.len() > key_attributes {
        return Err(not_supported());
    }
    let mut predicates = Predicates::new();
    for clause in clauses {
        if predicates
            .insert(clause.attribute, clause.predicate)
            .is_some()
        {
            return Err(one_condition_per_key());
        }
    }
    let partition = bind_partition(schema, &mut predicates)?;
    let sort = bind_sort(schema, &mut predicates)?;
    debug_assert!(
        predicates.is_empty(),
        "no more clauses than key attributes, and each was matched"
    );
    Ok(KeyCondition { partition, sort })
}

/// Takes the equality of every partition attribute.
fn bind_partition(
    schema: &KeySchema,
    predicates: &mut Predicates,
) -> Result<Vec<Value>, ExpressionError> {
    let several = schema.partition.len() > 1;
    let mut partition = Vec::with_capacity(schema.partition.len());
    for attribute in &schema.partition {
        let Some(predicate) = predicates.remove(&attribute.name) else {
            return Err(if several {
                needs_equality("HASH", attribute, None)
            } else {
                missed(attribute)
            });
        };
        let predicate = predicate.ok_or_else(not_indexable)?;
        check_types(attribute, &predicate)?;
        match predicate {
            KeyPredicate::Eq(value) => partition.push(value),
            _ if several => return Err(needs_equality("HASH", attribute, None)),
            _ => return Err(not_supported()),
        }
    }
    Ok(partition)
}

/// Takes the conditions on the leading sort attributes.
fn bind_sort(
    schema: &KeySchema,
    predicates: &mut Predicates,
) -> Result<Vec<KeyPredicate>, ExpressionError> {
    let mut sort = Vec::new();
    for (position, attribute) in schema.sort.iter().enumerate() {
        if predicates.is_empty() {
            break;
        }
        let given = predicates.remove(&attribute.name);
        let later = schema
            .sort
            .iter()
            .skip(position + 1)
            .find(|later| predicates.contains_key(&later.name));
        if let (Some(later), false) = (later, matches!(given, Some(Some(KeyPredicate::Eq(_))))) {
            return Err(needs_equality("RANGE", attribute, Some(&later.name)));
        }
        let predicate = given.ok_or_else(|| missed(attribute))?;
        let predicate = predicate.ok_or_else(not_indexable)?;
        check_types(attribute, &predicate)?;
        sort.push(predicate);
    }
    Ok(sort)
}

/// Refuses values that the key attribute cannot have.
fn check_types(attribute: &KeyAttribute, predicate: &KeyPredicate) -> Result<(), ExpressionError> {
    for value in [predicate.low(), predicate.high()] {
        if !attribute.kind.matches(value) {
            let detail = "Condition parameter type does not match schema type";
            return Err(ExpressionError(format!(
                "One or more parameter values were invalid: {detail}"
            )));
        }
        let empty = match value {
            Value::S(text) if text.is_empty() => "string",
            Value::B(bytes) if bytes.is_empty() => "binary",
            _ => continue,
        };
        return Err(ExpressionError(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot \
             contain an empty {empty} value. Key: {}",
            attribute.name
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
