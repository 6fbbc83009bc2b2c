//! Updates: the static checks in DynamoDB's order, then the tree (expressions.md section 8).

use super::check::{
    Function, Resolved, check_arity, check_call_types, check_known, check_operand_reserved,
    check_reserved, misused, operand_count, operand_type, resolve, resolve_path,
};
use super::parser::raw::{
    RawAction, RawCall, RawElement, RawOperand, RawPath, RawSetOperand, RawSetValue,
};
use super::parser::{self, Section};
use super::projection::check_paths;
use super::{ExpressionError, ExpressionKind, Path, Placeholders, SetOperand, SetValue, Update};
use crate::item::Value;

const KIND: ExpressionKind = ExpressionKind::Update;

/// A SET value with its placeholders substituted.
enum Side {
    Operand(Resolved),
    Group(Box<Sum>),
}

struct Sum {
    left: Side,
    /// The operator and its right operand.
    rest: Option<(Operator, Side)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Plus,
    Minus,
}

/// Parses and checks an UpdateExpression.
pub fn parse_update(
    source: &str,
    placeholders: &mut Placeholders,
) -> Result<Update, ExpressionError> {
    let (sections, actions) = parser::update(source)?;
    actions.iter().try_for_each(check_action_reserved)?;
    each_operand(&actions, &mut |operand| check_known(KIND, operand))?;
    each_operand(&actions, &mut |operand| check_placement(operand, true))?;
    check_sections(&sections)?;
    resolve_names(&actions, placeholders)?;
    let resolved = resolve_actions(&actions, placeholders)?;
    check_paths(KIND, &resolved.targets)?;
    for (section, value) in &resolved.literals {
        check_literal(*section, value)?;
    }
    for sum in &resolved.sums {
        check_sum(sum)?;
    }
    build(&actions, resolved)
}

/// Calls `visit` for every operand of a SET, in the order written.
fn each_operand<'a>(
    actions: &[RawAction<'a>],
    visit: &mut dyn FnMut(&RawOperand<'a>) -> Result<(), ExpressionError>,
) -> Result<(), ExpressionError> {
    for action in actions {
        if let RawAction::Set(_, value) = action {
            each_in_value(value, visit)?;
        }
    }
    Ok(())
}

fn each_in_value<'a>(
    value: &RawSetValue<'a>,
    visit: &mut dyn FnMut(&RawOperand<'a>) -> Result<(), ExpressionError>,
) -> Result<(), ExpressionError> {
    let (left, right) = match value {
        RawSetValue::Operand(only) => (only, None),
        RawSetValue::Plus(left, right) | RawSetValue::Minus(left, right) => (left, Some(right)),
    };
    for operand in std::iter::once(left).chain(right) {
        match operand {
            RawSetOperand::Operand(operand) => visit(operand)?,
            RawSetOperand::Group(value) => each_in_value(value, visit)?,
        }
    }
    Ok(())
}

fn target<'n, 'a>(action: &'n RawAction<'a>) -> &'n RawPath<'a> {
    match action {
        RawAction::Set(path, _) | RawAction::Remove(path) => path,
        RawAction::Add(path, _) | RawAction::Delete(path, _) => path,
    }
}

fn check_action_reserved(action: &RawAction<'_>) -> Result<(), ExpressionError> {
    check_reserved(KIND, target(action))?;
    match action {
        RawAction::Set(_, value) => {
            each_in_value(value, &mut |operand| check_operand_reserved(KIND, operand))
        }
        _ => Ok(()),
    }
}

/// Refuses functions of conditions anywhere, and `list_append` inside another function.
fn check_placement(operand: &RawOperand<'_>, outermost: bool) -> Result<(), ExpressionError> {
    let RawOperand::Call(RawCall { name, args }) = operand else {
        return Ok(());
    };
    for arg in args {
        check_placement(arg, false)?;
    }
    match Function::named(name) {
        Some(Function::IfNotExists) => Ok(()),
        Some(Function::ListAppend) if outermost => Ok(()),
        _ => Err(misused(KIND, name)),
    }
}

fn check_sections(sections: &[Section]) -> Result<(), ExpressionError> {
    for (index, section) in sections.iter().enumerate() {
        if sections
            .iter()
            .take(index)
            .any(|earlier| earlier == section)
        {
            let detail = "section can only be used once in an update expression;";
            return Err(KIND.invalid(format!("The \"{}\" {detail}", section.name())));
        }
    }
    Ok(())
}

/// Refuses undefined names before any undefined value is looked at.
fn resolve_names(
    actions: &[RawAction<'_>],
    placeholders: &mut Placeholders,
) -> Result<(), ExpressionError> {
    for action in actions {
        path_names(target(action), placeholders)?;
        if let RawAction::Set(_, value) = action {
            each_in_value(value, &mut |operand| operand_names(operand, placeholders))?;
        }
    }
    Ok(())
}

fn operand_names(
    operand: &RawOperand<'_>,
    placeholders: &mut Placeholders,
) -> Result<(), ExpressionError> {
    match operand {
        RawOperand::Path(path) => path_names(path, placeholders),
        RawOperand::Value(_) => Ok(()),
        RawOperand::Call(call) => call
            .args
            .iter()
            .try_for_each(|arg| operand_names(arg, placeholders)),
    }
}

fn path_names(path: &RawPath<'_>, placeholders: &mut Placeholders) -> Result<(), ExpressionError> {
    for element in path.elements() {
        if let RawElement::Reference(key) = element {
            placeholders.name(KIND, key)?;
        }
    }
    Ok(())
}

/// The parts of all actions, each kind in the order written.
struct Parts {
    targets: Vec<Path>,
    sums: Vec<Sum>,
    literals: Vec<(Section, Value)>,
}

fn resolve_actions(
    actions: &[RawAction<'_>],
    placeholders: &mut Placeholders,
) -> Result<Parts, ExpressionError> {
    let mut parts = Parts {
        targets: Vec::new(),
        sums: Vec::new(),
        literals: Vec::new(),
    };
    for action in actions {
        parts
            .targets
            .push(resolve_path(KIND, target(action), placeholders)?);
        match action {
            RawAction::Set(_, value) => parts.sums.push(resolve_sum(value, placeholders)?),
            RawAction::Remove(_) => {}
            RawAction::Add(_, key) => parts
                .literals
                .push((Section::Add, placeholders.value(KIND, key)?)),
            RawAction::Delete(_, key) => parts
                .literals
                .push((Section::Delete, placeholders.value(KIND, key)?)),
        }
    }
    Ok(parts)
}

fn resolve_sum(
    value: &RawSetValue<'_>,
    placeholders: &mut Placeholders,
) -> Result<Sum, ExpressionError> {
    let (left, rest) = match value {
        RawSetValue::Operand(only) => (only, None),
        RawSetValue::Plus(left, right) => (left, Some((Operator::Plus, right))),
        RawSetValue::Minus(left, right) => (left, Some((Operator::Minus, right))),
    };
    let left = resolve_side(left, placeholders)?;
    let rest = match rest {
        Some((operator, right)) => Some((operator, resolve_side(right, placeholders)?)),
        None => None,
    };
    Ok(Sum { left, rest })
}

fn resolve_side(
    operand: &RawSetOperand<'_>,
    placeholders: &mut Placeholders,
) -> Result<Side, ExpressionError> {
    match operand {
        RawSetOperand::Operand(operand) => resolve(KIND, operand, placeholders).map(Side::Operand),
        RawSetOperand::Group(value) => Ok(Side::Group(Box::new(resolve_sum(value, placeholders)?))),
    }
}

/// Refuses literals that ADD or DELETE cannot take. Types are spelled out here, as nowhere else.
fn check_literal(section: Section, value: &Value) -> Result<(), ExpressionError> {
    let spelled = match value {
        Value::Ss(_) | Value::Ns(_) | Value::Bs(_) => return Ok(()),
        Value::N(_) if section == Section::Add => return Ok(()),
        Value::N(_) => "NUMBER",
        Value::S(_) => "STRING",
        Value::B(_) => "BINARY",
        Value::Bool(_) => "BOOLEAN",
        Value::Null => "NULL",
        Value::L(_) => "LIST",
        Value::M(_) => "MAP",
    };
    let detail = "Incorrect operand type for operator or function; operator";
    Err(KIND.invalid(format!(
        "{detail}: {}, operand type: {spelled}",
        section.name()
    )))
}

/// Refuses calls with operands wrong in number or type, and sums of what is no number.
fn check_sum(sum: &Sum) -> Result<(), ExpressionError> {
    let right = sum.rest.as_ref().map(|(_, right)| right);
    for side in std::iter::once(&sum.left).chain(right) {
        match side {
            Side::Group(sum) => check_sum(sum)?,
            Side::Operand(operand) => operand.visit_calls(&mut |function, args| {
                check_arity(KIND, function, args)?;
                check_call_types(KIND, function, args)
            })?,
        }
    }
    let Some((operator, right)) = &sum.rest else {
        return Ok(());
    };
    let name = if *operator == Operator::Plus {
        "+"
    } else {
        "-"
    };
    for side in [&sum.left, right] {
        if let Side::Operand(operand) = side
            && let Some(found) = operand.static_type()
            && found != "N"
        {
            return Err(operand_type(KIND, name, found));
        }
    }
    Ok(())
}

fn build(actions: &[RawAction<'_>], parts: Parts) -> Result<Update, ExpressionError> {
    let mut update = Update::default();
    let mut sums = parts.sums.into_iter();
    let mut literals = parts.literals.into_iter().map(|(_, value)| value);
    for (action, path) in actions.iter().zip(parts.targets) {
        match action {
            RawAction::Remove(_) => update.remove.push(path),
            RawAction::Set(..) => {
                if let Some(sum) = sums.next() {
                    update.set.push((path, set_value(sum)?));
                }
            }
            RawAction::Add(..) => update
                .add
                .extend(literals.next().map(|value| (path, value))),
            RawAction::Delete(..) => update
                .delete
                .extend(literals.next().map(|value| (path, value))),
        }
    }
    debug_assert!(
        sums.next().is_none() && literals.next().is_none(),
        "every part has its action"
    );
    Ok(update)
}

fn set_value(sum: Sum) -> Result<SetValue, ExpressionError> {
    let left = set_side(sum.left)?;
    Ok(match (sum.rest, left) {
        (Some((Operator::Plus, right)), left) => SetValue::Plus(left, set_side(right)?),
        (Some((Operator::Minus, right)), left) => SetValue::Minus(left, set_side(right)?),
        (None, SetOperand::Group(inner)) => *inner,
        (None, operand) => SetValue::Operand(operand),
    })
}

fn set_side(side: Side) -> Result<SetOperand, ExpressionError> {
    match side {
        Side::Operand(operand) => set_operand(operand),
        Side::Group(sum) => Ok(SetOperand::Group(Box::new(set_value(*sum)?))),
    }
}

fn set_operand(operand: Resolved) -> Result<SetOperand, ExpressionError> {
    let (function, args) = match operand {
        Resolved::Path(path) => return Ok(SetOperand::Path(path)),
        Resolved::Value(value) => return Ok(SetOperand::Value(value)),
        Resolved::Call(function, args) => (function, args),
    };
    let [first, second] = <[Resolved; 2]>::try_from(args)
        .map_err(|args| operand_count(KIND, function, args.len()))?;
    match (function, first) {
        (Function::IfNotExists, Resolved::Path(path)) => Ok(SetOperand::IfNotExists(
            path,
            Box::new(set_operand(second)?),
        )),
        (Function::ListAppend, first) => Ok(SetOperand::ListAppend(
            Box::new(set_operand(first)?),
            Box::new(set_operand(second)?),
        )),
        (function, _) => Err(misused(KIND, function.name())),
    }
}

#[cfg(test)]
mod tests;
