//! What conditions and updates share of the static checks: functions, reserved words and substitution
//! (expressions.md sections 3 and 4).
//!
//! The order of checks is DynamoDB's and observable: unknown functions, misplaced functions and
//! reserved words anywhere in the expression come before any undefined placeholder.

use super::parser::raw::{RawCall, RawElement, RawOperand, RawPath};
use super::reserved::is_reserved;
use super::{ExpressionError, ExpressionKind, Path, Placeholders, Step};
use crate::item::Value;

/// The type names of attribute values, in the order of DynamoDB's message.
pub(crate) const TYPE_NAMES: [&str; 10] =
    ["B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M"];

/// The functions of all expressions. Their names are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    AttributeExists,
    AttributeNotExists,
    AttributeType,
    BeginsWith,
    Contains,
    Size,
    IfNotExists,
    ListAppend,
}

impl Function {
    const ALL: [Function; 8] = [
        Function::AttributeExists,
        Function::AttributeNotExists,
        Function::AttributeType,
        Function::BeginsWith,
        Function::Contains,
        Function::Size,
        Function::IfNotExists,
        Function::ListAppend,
    ];

    /// The function called `name`.
    pub fn named(name: &str) -> Option<Function> {
        Function::ALL
            .into_iter()
            .find(|function| function.name() == name)
    }

    /// The name as written in expressions.
    pub fn name(self) -> &'static str {
        match self {
            Function::AttributeExists => "attribute_exists",
            Function::AttributeNotExists => "attribute_not_exists",
            Function::AttributeType => "attribute_type",
            Function::BeginsWith => "begins_with",
            Function::Contains => "contains",
            Function::Size => "size",
            Function::IfNotExists => "if_not_exists",
            Function::ListAppend => "list_append",
        }
    }

    /// How many operands it takes.
    fn arity(self) -> usize {
        match self {
            Function::AttributeExists | Function::AttributeNotExists | Function::Size => 1,
            _ => 2,
        }
    }
}

/// An operand with its placeholders substituted, not yet known to fit its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolved {
    Path(Path),
    Value(Value),
    Call(Function, Vec<Resolved>),
}

impl Resolved {
    /// The type this operand has whatever the item holds, if it has one.
    pub(super) fn static_type(&self) -> Option<&'static str> {
        match self {
            Resolved::Value(value) => Some(value.type_name()),
            Resolved::Call(Function::Size, _) => Some("N"),
            Resolved::Call(Function::ListAppend, _) => Some("L"),
            _ => None,
        }
    }

    /// Calls `visit` for every call in this operand, inner ones first.
    pub(super) fn visit_calls(&self, visit: &mut Visit<'_>) -> Result<(), ExpressionError> {
        match self {
            Resolved::Call(function, args) => visit_call(*function, args, visit),
            _ => Ok(()),
        }
    }
}

/// A check of one call.
pub(super) type Visit<'a> = dyn FnMut(Function, &[Resolved]) -> Result<(), ExpressionError> + 'a;

/// As [`Resolved::visit_calls`], for a call that stands on its own.
pub(super) fn visit_call(
    function: Function,
    args: &[Resolved],
    visit: &mut Visit<'_>,
) -> Result<(), ExpressionError> {
    for arg in args {
        arg.visit_calls(visit)?;
    }
    visit(function, args)
}

/// The error for a function that does not exist.
pub(super) fn unknown_function(kind: ExpressionKind, name: &str) -> ExpressionError {
    kind.invalid(format!("Invalid function name; function: {name}"))
}

/// The error for a function that exists, but not here.
pub(super) fn misused(kind: ExpressionKind, name: &str) -> ExpressionError {
    let detail = "The function is not allowed to be used this way in an expression; function";
    kind.invalid(format!("{detail}: {name}"))
}

/// The error for an operand whose type, known from the request alone, cannot be right.
pub(super) fn operand_type(kind: ExpressionKind, name: &str, found: &str) -> ExpressionError {
    let detail = "Incorrect operand type for operator or function; operator or function";
    kind.invalid(format!("{detail}: {name}, operand type: {found}"))
}

/// The error for a wrong number of operands.
pub(super) fn operand_count(
    kind: ExpressionKind,
    function: Function,
    count: usize,
) -> ExpressionError {
    let detail = "Incorrect number of operands for operator or function; operator or function";
    kind.invalid(format!(
        "{detail}: {}, number of operands: {count}",
        function.name()
    ))
}

/// Refuses functions that do not exist, inner calls first.
pub(super) fn check_known(
    kind: ExpressionKind,
    operand: &RawOperand<'_>,
) -> Result<(), ExpressionError> {
    match operand {
        RawOperand::Call(call) => check_call_known(kind, call),
        _ => Ok(()),
    }
}

/// As [`check_known`], for a call that stands on its own.
pub(super) fn check_call_known(
    kind: ExpressionKind,
    call: &RawCall<'_>,
) -> Result<(), ExpressionError> {
    for arg in &call.args {
        check_known(kind, arg)?;
    }
    match Function::named(call.name) {
        Some(_) => Ok(()),
        None => Err(unknown_function(kind, call.name)),
    }
}

/// Refuses reserved words among the bare names of a path.
pub(super) fn check_reserved(
    kind: ExpressionKind,
    path: &RawPath<'_>,
) -> Result<(), ExpressionError> {
    for element in path.elements() {
        if let RawElement::Name(name) = element
            && is_reserved(name)
        {
            let detail = "Attribute name is a reserved keyword; reserved keyword";
            return Err(kind.invalid(format!("{detail}: {name}")));
        }
    }
    Ok(())
}

/// As [`check_reserved`], for every path of an operand.
pub(super) fn check_operand_reserved(
    kind: ExpressionKind,
    operand: &RawOperand<'_>,
) -> Result<(), ExpressionError> {
    match operand {
        RawOperand::Path(path) => check_reserved(kind, path),
        RawOperand::Value(_) => Ok(()),
        RawOperand::Call(call) => call
            .args
            .iter()
            .try_for_each(|arg| check_operand_reserved(kind, arg)),
    }
}

/// Substitutes the names of a path.
pub(super) fn resolve_path(
    kind: ExpressionKind,
    path: &RawPath<'_>,
    placeholders: &mut Placeholders,
) -> Result<Path, ExpressionError> {
    let mut steps = Vec::with_capacity(path.tail.len());
    let mut root = None;
    for element in path.elements() {
        let step = match element {
            RawElement::Name(name) => Step::Field(name.to_owned()),
            RawElement::Reference(key) => Step::Field(placeholders.name(kind, key)?),
            RawElement::Index(index) => Step::Index(index),
        };
        match (step, &root) {
            (Step::Field(name), None) => root = Some(name),
            (step, _) => steps.push(step),
        }
    }
    Ok(Path {
        root: root.unwrap_or_default(),
        steps,
    })
}

/// Substitutes the names and values of an operand, in the order written.
pub(super) fn resolve(
    kind: ExpressionKind,
    operand: &RawOperand<'_>,
    placeholders: &mut Placeholders,
) -> Result<Resolved, ExpressionError> {
    match operand {
        RawOperand::Path(path) => resolve_path(kind, path, placeholders).map(Resolved::Path),
        RawOperand::Value(key) => placeholders.value(kind, key).map(Resolved::Value),
        RawOperand::Call(call) => {
            let (function, args) = resolve_call(kind, call, placeholders)?;
            Ok(Resolved::Call(function, args))
        }
    }
}

/// As [`resolve`], for a call that stands on its own.
pub(super) fn resolve_call(
    kind: ExpressionKind,
    call: &RawCall<'_>,
    placeholders: &mut Placeholders,
) -> Result<(Function, Vec<Resolved>), ExpressionError> {
    let function = Function::named(call.name).ok_or_else(|| unknown_function(kind, call.name))?;
    let mut args = Vec::with_capacity(call.args.len());
    for arg in &call.args {
        args.push(resolve(kind, arg, placeholders)?);
    }
    Ok((function, args))
}

/// Refuses a call with too few or too many operands.
pub(super) fn check_arity(
    kind: ExpressionKind,
    function: Function,
    args: &[Resolved],
) -> Result<(), ExpressionError> {
    if args.len() == function.arity() {
        Ok(())
    } else {
        Err(operand_count(kind, function, args.len()))
    }
}

/// Refuses a first operand that comes again among the others, if it is a path.
pub(super) fn check_distinct(
    kind: ExpressionKind,
    operator: &str,
    first: &Resolved,
    rest: &[Resolved],
) -> Result<(), ExpressionError> {
    match first {
        Resolved::Path(path) if rest.contains(first) => Err(kind.invalid(format!(
            "The first operand must be distinct from the remaining operands for this operator or function; \
             operator: {operator}, first operand: {path}"
        ))),
        _ => Ok(()),
    }
}

/// Refuses operands of a call that cannot be right whatever the item holds.
pub(super) fn check_call_types(
    kind: ExpressionKind,
    function: Function,
    args: &[Resolved],
) -> Result<(), ExpressionError> {
    let refuse = |arg: &Resolved, wrong: fn(&str) -> bool| match arg.static_type() {
        Some(found) if wrong(found) => Err(operand_type(kind, function.name(), found)),
        _ => Ok(()),
    };
    match (function, args) {
        (
            Function::AttributeExists | Function::AttributeNotExists | Function::IfNotExists,
            [first, ..],
        ) => match first {
            Resolved::Path(_) => Ok(()),
            _ => Err(kind.invalid(format!(
                "Operator or function requires a document path; operator or function: {}",
                function.name()
            ))),
        },
        (Function::AttributeType, [_, name]) => check_type_name(kind, name).map(|_| ()),
        (Function::BeginsWith, args) => args
            .iter()
            .try_for_each(|arg| refuse(arg, |found| !matches!(found, "S" | "B"))),
        (Function::Contains, [first, _]) => {
            refuse(first, |found| matches!(found, "N" | "BOOL" | "NULL" | "M"))
        }
        (Function::Size, [first]) => refuse(first, |found| matches!(found, "N" | "BOOL" | "NULL")),
        (Function::ListAppend, args) => args
            .iter()
            .try_for_each(|arg| refuse(arg, |found| found != "L")),
        (function, args) => Err(operand_count(kind, function, args.len())),
    }
}

/// The type that the second operand of `attribute_type` names, which only the request can say.
pub(super) fn check_type_name(
    kind: ExpressionKind,
    operand: &Resolved,
) -> Result<String, ExpressionError> {
    match operand {
        Resolved::Value(Value::S(name)) if TYPE_NAMES.contains(&name.as_str()) => Ok(name.clone()),
        Resolved::Value(Value::S(name)) => Err(kind.invalid(format!(
            "Invalid attribute type name found; type: {name}, valid types: {{{}}}",
            TYPE_NAMES.join(",")
        ))),
        other => {
            let any = "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}";
            let found = other.static_type().unwrap_or(any);
            Err(operand_type(kind, Function::AttributeType.name(), found))
        }
    }
}
