//! What a WHERE asks of the keys of a table or index: how items are reached (expressions.md section 10).

use std::collections::BTreeSet;

use super::{Order, PartiqlError};
use crate::expression::{
    Comparator, Condition, KeyClause, KeyCondition, KeyPredicate, Operand, bind_key_condition,
};
use crate::item::key::sort_bytes;
use crate::item::{Item, KeySchema, Value};

/// The most values of a partition key that IN may name.
const PARTITIONS_MAX: usize = 50;

/// How the items of a SELECT are reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// One query after the other.
    Query {
        /// One for each value of the partition key, in the order in which they are read.
        partitions: Vec<KeyCondition>,
        /// Whether each names at most one item of a table.
        whole_keys: bool,
        /// Whether the partition key came as IN, whose pages are short.
        several: bool,
        filter: Option<Condition>,
        forward: bool,
    },
    Scan {
        filter: Option<Condition>,
    },
}

/// Finds the way to the items that satisfy `filter`, in `order`.
pub fn plan(
    filter: Option<Condition>,
    order: &[Order],
    schema: &KeySchema,
) -> Result<Access, PartiqlError> {
    if filter.is_none() && !order.is_empty() {
        return Err(invalid(
            "Must have WHERE clause in the statement when using ORDER BY clause.",
        ));
    }
    let parts = conjuncts(filter);
    let mut used = BTreeSet::new();
    let Some(partitions) = partitions(&parts, schema, &mut used)? else {
        if !order.is_empty() {
            return Err(invalid(
                "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
            ));
        }
        return Ok(Access::Scan {
            filter: joined(parts),
        });
    };
    let sort = sort_clauses(&parts, schema, &mut used);
    let whole_keys = sort.len() == schema.sort.len()
        && sort
            .iter()
            .all(|clause| matches!(clause.predicate, Some(KeyPredicate::Eq(_))));
    let several = partitions.len() > 1;
    let mut conditions = Vec::with_capacity(partitions.len());
    for clauses in partitions {
        let clauses = clauses.into_iter().chain(sort.iter().cloned()).collect();
        conditions.push(bind_key_condition(clauses, schema)?);
    }
    let forward = arrange(&mut conditions, order, schema)?;
    let rest = parts
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !used.contains(at))
        .map(|(_, part)| part);
    Ok(Access::Query {
        partitions: conditions,
        whole_keys,
        several,
        filter: joined(rest),
        forward,
    })
}

/// Takes the whole key of one item out of a filter: the key, and what else is asked.
pub fn split_key(
    filter: Option<Condition>,
    schema: &KeySchema,
) -> Result<(Item, Option<Condition>), PartiqlError> {
    let parts = conjuncts(filter);
    let mut used = BTreeSet::new();
    let mut key = Item::new();
    for attribute in schema.attributes() {
        let Some((at, value)) = equality(&parts, &attribute.name) else {
            return Err(invalid(
                "Where clause does not contain a mandatory equality on all key attributes",
            ));
        };
        used.insert(at);
        key.insert(attribute.name.clone(), value.clone());
    }
    let rest = parts
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !used.contains(at))
        .map(|(_, part)| part);
    Ok((key, joined(rest)))
}

fn invalid(message: &str) -> PartiqlError {
    PartiqlError::Invalid(message.into())
}

/// The conditions that AND joins at the top, left to right.
fn conjuncts(filter: Option<Condition>) -> Vec<Condition> {
    let mut open: Vec<Condition> = filter.into_iter().collect();
    let mut parts = Vec::new();
    while let Some(condition) = open.pop() {
        match condition {
            Condition::And(left, right) => {
                open.push(*right);
                open.push(*left);
            }
            part => parts.push(part),
        }
    }
    parts
}

fn joined(parts: impl IntoIterator<Item = Condition>) -> Option<Condition> {
    parts
        .into_iter()
        .reduce(|left, right| Condition::And(Box::new(left), Box::new(right)))
}

/// What a condition asks of one whole attribute, as a key could answer it.
fn predicate(condition: &Condition) -> Option<(&str, KeyPredicate)> {
    match condition {
        Condition::Compare { left, op, right } => {
            let (path, op, value) = match (left, right) {
                (Operand::Path(path), Operand::Value(value)) => (path, *op, value),
                (Operand::Value(value), Operand::Path(path)) => (path, swapped(*op), value),
                _ => return None,
            };
            let value = value.clone();
            let predicate = match op {
                Comparator::Eq => KeyPredicate::Eq(value),
                Comparator::Lt => KeyPredicate::Lt(value),
                Comparator::Le => KeyPredicate::Le(value),
                Comparator::Gt => KeyPredicate::Gt(value),
                Comparator::Ge => KeyPredicate::Ge(value),
                Comparator::Ne => return None,
            };
            path.steps
                .is_empty()
                .then_some((path.root.as_str(), predicate))
        }
        Condition::Between {
            value: Operand::Path(path),
            low: Operand::Value(low),
            high: Operand::Value(high),
        } if path.steps.is_empty() => Some((
            path.root.as_str(),
            KeyPredicate::Between(low.clone(), high.clone()),
        )),
        Condition::BeginsWith(Operand::Path(path), Operand::Value(prefix))
            if path.steps.is_empty() =>
        {
            Some((path.root.as_str(), KeyPredicate::BeginsWith(prefix.clone())))
        }
        _ => None,
    }
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

/// The first condition that an attribute equals a value.
fn equality<'p>(parts: &'p [Condition], attribute: &str) -> Option<(usize, &'p Value)> {
    parts.iter().enumerate().find_map(|(at, part)| match part {
        Condition::Compare {
            left: Operand::Path(path),
            op: Comparator::Eq,
            right: Operand::Value(value),
        }
        | Condition::Compare {
            left: Operand::Value(value),
            op: Comparator::Eq,
            right: Operand::Path(path),
        } if path.steps.is_empty() && path.root == attribute => Some((at, value)),
        _ => None,
    })
}

fn clause(attribute: &str, predicate: KeyPredicate) -> KeyClause {
    KeyClause {
        attribute: attribute.to_owned(),
        predicate: Some(predicate),
    }
}

/// The clauses on the partition key, for each of its values; none when the filter does not name it.
fn partitions(
    parts: &[Condition],
    schema: &KeySchema,
    used: &mut BTreeSet<usize>,
) -> Result<Option<Vec<Vec<KeyClause>>>, PartiqlError> {
    let mut clauses = Vec::new();
    let mut taken = Vec::new();
    for attribute in &schema.partition {
        if let Some((at, value)) = equality(parts, &attribute.name) {
            taken.push(at);
            clauses.push(clause(&attribute.name, KeyPredicate::Eq(value.clone())));
        }
    }
    if clauses.len() == schema.partition.len() {
        used.extend(taken);
        return Ok(Some(vec![clauses]));
    }
    let [attribute] = schema.partition.as_slice() else {
        return Ok(None);
    };
    let Some((at, values)) = membership(parts, &attribute.name) else {
        return Ok(None);
    };
    if values.len() > PARTITIONS_MAX {
        return Err(PartiqlError::Invalid(format!(
            "The IN operator is provided with too many operands; number of operands: {}",
            values.len()
        )));
    }
    used.insert(at);
    let mut distinct: Vec<Value> = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    let of = |value| vec![clause(&attribute.name, KeyPredicate::Eq(value))];
    Ok(Some(distinct.into_iter().map(of).collect()))
}

/// The first condition that an attribute is one of several values.
fn membership<'p>(parts: &'p [Condition], attribute: &str) -> Option<(usize, Vec<&'p Value>)> {
    parts.iter().enumerate().find_map(|(at, part)| {
        let Condition::In {
            value: Operand::Path(path),
            list,
        } = part
        else {
            return None;
        };
        if !path.steps.is_empty() || path.root != attribute {
            return None;
        }
        let value = |operand: &'p Operand| match operand {
            Operand::Value(value) => Some(value),
            _ => None,
        };
        let values: Option<Vec<&Value>> = list.iter().map(value).collect();
        values.map(|values| (at, values))
    })
}

/// The clauses on the leading sort attributes: equalities, then at most one range.
fn sort_clauses(
    parts: &[Condition],
    schema: &KeySchema,
    used: &mut BTreeSet<usize>,
) -> Vec<KeyClause> {
    let mut clauses = Vec::new();
    for attribute in &schema.sort {
        if let Some((at, value)) = equality(parts, &attribute.name) {
            used.insert(at);
            clauses.push(clause(&attribute.name, KeyPredicate::Eq(value.clone())));
            continue;
        }
        let range = parts.iter().enumerate().find_map(|(at, part)| {
            let (name, predicate) = predicate(part)?;
            (name == attribute.name).then_some((at, predicate))
        });
        if let Some((at, predicate)) = range {
            used.insert(at);
            clauses.push(clause(&attribute.name, predicate));
        }
        break;
    }
    clauses
}

/// Brings partitions into order, and says in which direction each is read.
fn arrange(
    partitions: &mut [KeyCondition],
    order: &[Order],
    schema: &KeySchema,
) -> Result<bool, PartiqlError> {
    let mut forward = None;
    for key in order {
        if !schema.contains(&key.attribute) {
            return Err(PartiqlError::Invalid(format!(
                "Variable reference {} in ORDER BY clause must be part of the primary key",
                key.attribute
            )));
        }
        if schema.sort.iter().any(|sort| sort.name == key.attribute) {
            if forward.is_some_and(|forward| forward == key.descending) {
                return Err(invalid(
                    "Sort key attributes in ORDER BY clause must have the same direction",
                ));
            }
            forward = Some(!key.descending);
        } else if partitions.len() > 1 {
            partitions.sort_by_cached_key(|condition| {
                condition
                    .partition
                    .iter()
                    .map(sort_bytes)
                    .collect::<Vec<_>>()
            });
            if key.descending {
                partitions.reverse();
            }
        }
    }
    Ok(forward.unwrap_or(true))
}

#[cfg(test)]
mod tests;
