//! Conditions, filters and the condition grammar of key conditions: the static checks in DynamoDB's
//! order, then the tree (expressions.md section 4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::check::{
    Function, Resolved, check_arity, check_call_known, check_call_types, check_distinct,
    check_known, check_operand_reserved, check_type_name, misused, operand_count, operand_type,
    resolve, resolve_call, visit_call,
};
use super::parser::raw::{RawCall, RawLeaf, RawNode, RawOperand};
use super::parser::{self};
use super::{Comparator, Condition, ExpressionError, ExpressionKind, Operand, Placeholders};
use crate::item::Value;

/// Most operands of one IN, the one on its left included.
pub const IN_OPERANDS_MAX: usize = 100;

/// Parses and checks a condition, filter or key condition.
///
/// The tree is at most [`parser::OPERATORS_MAX`] deep, so walking or dropping it recursively is safe.
pub fn parse_condition(
    kind: ExpressionKind,
    source: &str,
    placeholders: &mut Placeholders,
) -> Result<Condition, ExpressionError> {
    let nodes = parser::condition(kind, source)?;
    for leaf in leaves(&nodes) {
        check_leaf_known(kind, leaf)?;
    }
    for leaf in leaves(&nodes) {
        check_leaf_placement(kind, leaf)?;
    }
    for leaf in leaves(&nodes) {
        leaf.operands()
            .into_iter()
            .try_for_each(|operand| check_operand_reserved(kind, operand))?;
    }
    build(kind, &nodes, placeholders)
}

fn leaves<'a, 'n>(nodes: &'n [RawNode<'a>]) -> impl Iterator<Item = &'n RawLeaf<'a>> {
    nodes.iter().filter_map(|node| match node {
        RawNode::Leaf(leaf) => Some(leaf),
        _ => None,
    })
}

fn check_leaf_known(kind: ExpressionKind, leaf: &RawLeaf<'_>) -> Result<(), ExpressionError> {
    match leaf {
        RawLeaf::Call(call) => check_call_known(kind, call),
        _ => leaf
            .operands()
            .into_iter()
            .try_for_each(|operand| check_known(kind, operand)),
    }
}

/// Refuses functions out of place: only `size` may be an operand, and only the others a condition.
fn check_leaf_placement(kind: ExpressionKind, leaf: &RawLeaf<'_>) -> Result<(), ExpressionError> {
    for operand in leaf.operands() {
        check_operand_placement(kind, operand)?;
    }
    match leaf {
        RawLeaf::Call(RawCall { name, .. })
            if matches!(*name, "size" | "if_not_exists" | "list_append") =>
        {
            Err(misused(kind, name))
        }
        _ => Ok(()),
    }
}

fn check_operand_placement(
    kind: ExpressionKind,
    operand: &RawOperand<'_>,
) -> Result<(), ExpressionError> {
    let RawOperand::Call(call) = operand else {
        return Ok(());
    };
    for arg in &call.args {
        check_operand_placement(kind, arg)?;
    }
    if call.name == Function::Size.name() {
        Ok(())
    } else {
        Err(misused(kind, call.name))
    }
}

/// Turns postfix order into a tree, resolving the leaves in the order written.
fn build(
    kind: ExpressionKind,
    nodes: &[RawNode<'_>],
    placeholders: &mut Placeholders,
) -> Result<Condition, ExpressionError> {
    let mut done: Vec<Condition> = Vec::new();
    for node in nodes {
        let top = match node {
            RawNode::Leaf(leaf) => Some(resolve_leaf(kind, leaf, placeholders)?),
            RawNode::Not => done.pop().map(|inner| Condition::Not(Box::new(inner))),
            RawNode::And | RawNode::Or => match (done.pop(), done.pop()) {
                (Some(right), Some(left)) if *node == RawNode::And => {
                    Some(Condition::And(Box::new(left), Box::new(right)))
                }
                (Some(right), Some(left)) => Some(Condition::Or(Box::new(left), Box::new(right))),
                _ => None,
            },
        };
        debug_assert!(
            top.is_some(),
            "the parser emits operands before their connective"
        );
        done.extend(top);
    }
    debug_assert!(done.len() == 1, "a condition is one tree");
    done.pop()
        .ok_or_else(|| kind.invalid("The expression can not be empty;"))
}

/// Substitutes and checks one leaf: placeholders, number of operands, distinctness, types.
fn resolve_leaf(
    kind: ExpressionKind,
    leaf: &RawLeaf<'_>,
    placeholders: &mut Placeholders,
) -> Result<Condition, ExpressionError> {
    if let RawLeaf::Call(call) = leaf {
        let (function, args) = resolve_call(kind, call, placeholders)?;
        visit_call(function, &args, &mut |function, args| {
            check_arity(kind, function, args)
        })?;
        visit_call(function, &args, &mut |function, args| {
            check_call_distinct(kind, function, args)
        })?;
        visit_call(function, &args, &mut |function, args| {
            check_call_types(kind, function, args)
        })?;
        return call_condition(kind, function, args);
    }
    let mut operands = Vec::new();
    for operand in leaf.operands() {
        operands.push(resolve(kind, operand, placeholders)?);
    }
    for operand in &operands {
        operand.visit_calls(&mut |function, args| check_arity(kind, function, args))?;
    }
    let operator = operator_name(leaf);
    if let [first, rest @ ..] = operands.as_slice() {
        check_distinct(kind, operator, first, rest)?;
    }
    for operand in &operands {
        operand.visit_calls(&mut |function, args| check_call_types(kind, function, args))?;
    }
    check_operator(kind, leaf, operator, &operands)?;
    leaf_condition(kind, leaf, operands)
}

fn check_call_distinct(
    kind: ExpressionKind,
    function: Function,
    args: &[Resolved],
) -> Result<(), ExpressionError> {
    match args {
        [first, rest @ ..] => check_distinct(kind, function.name(), first, rest),
        [] => Ok(()),
    }
}

fn operator_name(leaf: &RawLeaf<'_>) -> &'static str {
    match leaf {
        RawLeaf::Compare(_, op, _) => comparator_text(*op),
        RawLeaf::Between(..) => "BETWEEN",
        RawLeaf::In(..) => "IN",
        RawLeaf::Call(_) => "",
    }
}

/// A comparator as written.
pub(super) fn comparator_text(op: Comparator) -> &'static str {
    match op {
        Comparator::Eq => "=",
        Comparator::Ne => "<>",
        Comparator::Lt => "<",
        Comparator::Le => "<=",
        Comparator::Gt => ">",
        Comparator::Ge => ">=",
    }
}

/// Refuses operands that the operator can never compare, as far as the request alone tells.
fn check_operator(
    kind: ExpressionKind,
    leaf: &RawLeaf<'_>,
    operator: &str,
    operands: &[Resolved],
) -> Result<(), ExpressionError> {
    match leaf {
        RawLeaf::In(..) if operands.len() > IN_OPERANDS_MAX => {
            let detail = "The IN operator is provided with too many operands; number of operands";
            return Err(kind.invalid(format!("{detail}: {}", operands.len())));
        }
        RawLeaf::In(..) | RawLeaf::Compare(_, Comparator::Eq | Comparator::Ne, _) => return Ok(()),
        _ => {}
    }
    for operand in operands {
        match operand.static_type() {
            Some(found) if !matches!(found, "S" | "N" | "B") => {
                return Err(operand_type(kind, operator, found));
            }
            _ => {}
        }
    }
    match (leaf, operands) {
        (RawLeaf::Between(..), [_, Resolved::Value(low), Resolved::Value(high)]) => {
            check_bounds(kind, low, high)
        }
        _ => Ok(()),
    }
}

fn check_bounds(kind: ExpressionKind, low: &Value, high: &Value) -> Result<(), ExpressionError> {
    let rule = match (low, high) {
        (Value::S(low), Value::S(high)) if low > high => {
            "upper bound to be greater than or equal to lower bound"
        }
        (Value::N(low), Value::N(high)) if low > high => {
            "upper bound to be greater than or equal to lower bound"
        }
        (Value::B(low), Value::B(high)) if low > high => {
            "upper bound to be greater than or equal to lower bound"
        }
        _ if low.type_name() != high.type_name() => "same data type for lower and upper bounds",
        _ => return Ok(()),
    };
    Err(kind.invalid(format!(
        "The BETWEEN operator requires {rule}; lower bound operand: AttributeValue: {}, \
         upper bound operand: AttributeValue: {}",
        value_text(low),
        value_text(high)
    )))
}

/// A scalar as messages show it: `{S:a}`.
fn value_text(value: &Value) -> String {
    let content = match value {
        Value::S(text) => text.clone(),
        Value::N(number) => number.to_string(),
        Value::B(bytes) => STANDARD.encode(bytes),
        _ => String::new(),
    };
    format!("{{{}:{content}}}", value.type_name())
}

/// The tree of a leaf with an operator.
fn leaf_condition(
    kind: ExpressionKind,
    leaf: &RawLeaf<'_>,
    operands: Vec<Resolved>,
) -> Result<Condition, ExpressionError> {
    let mut operands = operands
        .into_iter()
        .map(|operand| into_operand(kind, operand));
    let mut next = || {
        operands
            .next()
            .unwrap_or_else(|| Err(kind.invalid("The expression can not be empty;")))
    };
    Ok(match leaf {
        RawLeaf::Compare(_, op, _) => Condition::Compare {
            left: next()?,
            op: *op,
            right: next()?,
        },
        RawLeaf::Between(..) => Condition::Between {
            value: next()?,
            low: next()?,
            high: next()?,
        },
        _ => Condition::In {
            value: next()?,
            list: operands.collect::<Result<_, _>>()?,
        },
    })
}

/// The tree of a function that is a condition.
fn call_condition(
    kind: ExpressionKind,
    function: Function,
    args: Vec<Resolved>,
) -> Result<Condition, ExpressionError> {
    let count = args.len();
    let mut args = args.into_iter();
    match (function, args.next(), args.next()) {
        (Function::AttributeExists, Some(Resolved::Path(path)), None) => {
            Ok(Condition::Exists(path))
        }
        (Function::AttributeNotExists, Some(Resolved::Path(path)), None) => {
            Ok(Condition::NotExists(path))
        }
        (Function::AttributeType, Some(operand), Some(name)) => {
            let name = check_type_name(kind, &name)?;
            Ok(Condition::HasType(into_operand(kind, operand)?, name))
        }
        (Function::BeginsWith, Some(operand), Some(prefix)) => Ok(Condition::BeginsWith(
            into_operand(kind, operand)?,
            into_operand(kind, prefix)?,
        )),
        (Function::Contains, Some(operand), Some(part)) => Ok(Condition::Contains(
            into_operand(kind, operand)?,
            into_operand(kind, part)?,
        )),
        (function, ..) => Err(operand_count(kind, function, count)),
    }
}

fn into_operand(kind: ExpressionKind, operand: Resolved) -> Result<Operand, ExpressionError> {
    match operand {
        Resolved::Path(path) => Ok(Operand::Path(path)),
        Resolved::Value(value) => Ok(Operand::Value(value)),
        Resolved::Call(Function::Size, args) => match <[Resolved; 1]>::try_from(args) {
            Ok([inner]) => Ok(Operand::Size(Box::new(into_operand(kind, inner)?))),
            Err(args) => Err(operand_count(kind, Function::Size, args.len())),
        },
        Resolved::Call(function, _) => Err(misused(kind, function.name())),
    }
}

#[cfg(test)]
mod tests;
