//! WHERE. Connectives are parsed with two stacks, not by recursion, and counted: a condition is at most
//! [`OPERATORS_MAX`] deep, as those of expressions are.

use super::{Kind, Parser, PartiqlError, expected, invalid, malformed};
use crate::expression::check::TYPE_NAMES;
use crate::expression::condition::IN_OPERANDS_MAX;
use crate::expression::parser::OPERATORS_MAX;
use crate::expression::{Comparator, Condition, Operand};
use crate::item::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Connective {
    /// Binds nothing: an open parenthesis.
    Open,
    Or,
    And,
    Not,
}

/// A condition under construction.
#[derive(Default)]
struct Stacks {
    done: Vec<Condition>,
    open: Vec<Connective>,
    operators: usize,
}

impl Stacks {
    fn push(&mut self, connective: Connective) -> Result<(), PartiqlError> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(invalid(format!(
                "The expression contains too many operators; operator count: {}",
                self.operators
            )));
        }
        self.open.push(connective);
        Ok(())
    }

    /// Applies the connectives that bind at least as tightly as `connective`.
    fn apply(&mut self, connective: Connective) -> Result<(), PartiqlError> {
        while let Some(top) = self.open.pop_if(|top| *top >= connective) {
            let last = self.done.pop().map(Box::new);
            let condition = match (top, last) {
                (Connective::Not, Some(inner)) => Condition::Not(inner),
                (Connective::And, Some(right)) => Condition::And(self.left()?, right),
                (Connective::Or, Some(right)) => Condition::Or(self.left()?, right),
                _ => return Err(malformed("Unexpected term")),
            };
            self.done.push(condition);
        }
        Ok(())
    }

    fn left(&mut self) -> Result<Box<Condition>, PartiqlError> {
        let left = self.done.pop().map(Box::new);
        left.ok_or_else(|| malformed("Unexpected term"))
    }
}

impl Parser<'_> {
    pub(super) fn condition(&mut self) -> Result<Condition, PartiqlError> {
        let mut stacks = Stacks::default();
        loop {
            if self.eat_word("NOT") {
                stacks.push(Connective::Not)?;
                continue;
            }
            if self.eat_symbol("(") {
                stacks.push(Connective::Open)?;
                continue;
            }
            let predicate = self.predicate()?;
            stacks.done.push(predicate);
            self.close(&mut stacks)?;
            if self.eat_word("AND") {
                stacks.apply(Connective::And)?;
                stacks.push(Connective::And)?;
            } else if self.eat_word("OR") {
                stacks.apply(Connective::Or)?;
                stacks.push(Connective::Or)?;
            } else {
                break;
            }
        }
        stacks.apply(Connective::Or)?;
        if !stacks.open.is_empty() {
            return Err(expected(")"));
        }
        let whole = stacks.done.pop();
        whole.ok_or_else(|| malformed("Unexpected term"))
    }

    /// Closes parentheses of the condition's own; one too many is left alone.
    fn close(&mut self, stacks: &mut Stacks) -> Result<(), PartiqlError> {
        while self.peek().is_symbol(")") && stacks.open.contains(&Connective::Open) {
            self.at += 1;
            stacks.apply(Connective::Or)?;
            stacks.open.pop();
        }
        Ok(())
    }

    fn predicate(&mut self) -> Result<Condition, PartiqlError> {
        if self.at_call() && !self.peek().is_word("size") {
            let condition = self.boolean_call()?;
            return self.compared_with_truth(condition);
        }
        let left = self.operand()?;
        let not = self.eat_word("NOT");
        let condition = if self.eat_word("BETWEEN") {
            self.between(left)?
        } else if self.eat_word("IN") {
            self.within(left)?
        } else if not {
            return Err(malformed("Unexpected term"));
        } else if self.eat_word("IS") {
            let not = self.eat_word("NOT");
            let condition = self.is(left)?;
            return Ok(negated(condition, not));
        } else {
            self.comparison(left)?
        };
        Ok(negated(condition, not))
    }

    /// `= TRUE` and the like after a function that is a condition.
    fn compared_with_truth(&mut self, condition: Condition) -> Result<Condition, PartiqlError> {
        let equal = self.peek().is_symbol("=");
        let unequal = self.peek().is_symbol("<>") || self.peek().is_symbol("!=");
        if !equal && !unequal {
            return Ok(condition);
        }
        self.at += 1;
        match self.value()? {
            Value::Bool(truth) => Ok(negated(condition, truth != equal)),
            _ => Err(malformed("Unexpected term")),
        }
    }

    fn comparison(&mut self, left: Operand) -> Result<Condition, PartiqlError> {
        let token = self.next();
        let op = match token.text {
            _ if token.kind != Kind::Symbol => return Err(malformed("Unexpected term")),
            "=" => Comparator::Eq,
            "<>" | "!=" => Comparator::Ne,
            "<" => Comparator::Lt,
            "<=" => Comparator::Le,
            ">" => Comparator::Gt,
            ">=" => Comparator::Ge,
            _ => return Err(malformed("Unexpected term")),
        };
        let right = self.operand()?;
        if !matches!(op, Comparator::Eq | Comparator::Ne) {
            ordered(token.text, [&left, &right])?;
        }
        Ok(Condition::Compare { left, op, right })
    }

    fn between(&mut self, value: Operand) -> Result<Condition, PartiqlError> {
        let low = self.operand()?;
        if !self.eat_word("AND") {
            return Err(malformed("Expected AND after BETWEEN"));
        }
        let high = self.operand()?;
        ordered("BETWEEN", [&value, &low, &high])?;
        if let (Operand::Value(low), Operand::Value(high)) = (&low, &high) {
            check_bounds(low, high)?;
        }
        Ok(Condition::Between { value, low, high })
    }

    fn within(&mut self, value: Operand) -> Result<Condition, PartiqlError> {
        let close = if self.eat_symbol("[") {
            "]"
        } else {
            self.expect_symbol("(")?;
            ")"
        };
        let mut list = vec![self.operand()?];
        while self.eat_symbol(",") {
            list.push(self.operand()?);
        }
        self.expect_symbol(close)?;
        if list.len() > IN_OPERANDS_MAX {
            return Err(too_many_operands(list.len()));
        }
        Ok(Condition::In { value, list })
    }

    /// What follows IS: MISSING, NULL or a type.
    fn is(&mut self, value: Operand) -> Result<Condition, PartiqlError> {
        let token = self.next();
        if token.is_word("MISSING") {
            return match value {
                Operand::Path(path) => Ok(Condition::NotExists(path)),
                _ => Err(needs_path("IS MISSING")),
            };
        }
        let name = token.text.to_ascii_uppercase();
        let name = match name.as_str() {
            _ if token.kind != Kind::Word => return Err(malformed("Unexpected term")),
            "NULL" => "NULL",
            "BOOL" | "BOOLEAN" => "BOOL",
            "STRING" | "VARCHAR" | "CHAR" => "S",
            "NUMBER" | "NUMERIC" | "DECIMAL" | "INT" | "INTEGER" | "FLOAT" => "N",
            "BINARY" | "BLOB" => "B",
            "LIST" => "L",
            "STRUCT" | "TUPLE" | "MAP" => "M",
            "BAG" => {
                let of = |name: &str| Box::new(Condition::HasType(value.clone(), name.into()));
                let scalars = Box::new(Condition::Or(of("SS"), of("NS")));
                return Ok(Condition::Or(scalars, of("BS")));
            }
            _ => return Err(malformed("Expected type name")),
        };
        Ok(Condition::HasType(value, name.into()))
    }

    /// A path, a value or `size` of one.
    fn operand(&mut self) -> Result<Operand, PartiqlError> {
        if !self.at_call() {
            return self.simple_operand();
        }
        let name = self.peek().text.to_ascii_lowercase();
        if name != "size" {
            return Err(unrecognized(&name, &self.peek().position()));
        }
        match <[Operand; 1]>::try_from(self.arguments()?) {
            Ok([operand]) => Ok(Operand::Size(Box::new(operand))),
            Err(arguments) => Err(operand_count(&name, arguments.len())),
        }
    }

    fn simple_operand(&mut self) -> Result<Operand, PartiqlError> {
        if self.at_value() {
            return self.value().map(Operand::Value);
        }
        self.path().map(Operand::Path)
    }

    /// The arguments of a call that comes next; none of them is a call.
    fn arguments(&mut self) -> Result<Vec<Operand>, PartiqlError> {
        self.at += 1;
        self.expect_symbol("(")?;
        let mut arguments = Vec::new();
        if self.eat_symbol(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.simple_operand()?);
            if !self.eat_symbol(",") {
                self.expect_symbol(")")?;
                return Ok(arguments);
            }
        }
    }

    /// A call that is a condition.
    fn boolean_call(&mut self) -> Result<Condition, PartiqlError> {
        let name = self.peek().text.to_ascii_lowercase();
        let arity = match name.as_str() {
            "attribute_exists" | "attribute_not_exists" => 1,
            "begins_with" | "contains" | "attribute_type" => 2,
            _ => return Err(unrecognized(&name, &self.peek().position())),
        };
        let arguments = self.arguments()?;
        let count = arguments.len();
        if count != arity {
            return Err(operand_count(&name, count));
        }
        let mut arguments = arguments.into_iter();
        match (name.as_str(), arguments.next(), arguments.next()) {
            ("attribute_exists", Some(Operand::Path(path)), None) => Ok(Condition::Exists(path)),
            ("attribute_not_exists", Some(Operand::Path(path)), None) => {
                Ok(Condition::NotExists(path))
            }
            (_, Some(_), None) => Err(needs_path(&name)),
            ("attribute_type", Some(value), Some(kind)) => {
                Ok(Condition::HasType(value, type_name(&kind)?))
            }
            ("begins_with", Some(value), Some(prefix)) => {
                for operand in [&value, &prefix] {
                    match static_type(operand) {
                        None | Some("S" | "B") => {}
                        Some(found) => return Err(operand_type(&name, found)),
                    }
                }
                Ok(Condition::BeginsWith(value, prefix))
            }
            (_, Some(value), Some(part)) => Ok(Condition::Contains(value, part)),
            _ => Err(operand_count(&name, count)),
        }
    }
}

fn negated(condition: Condition, not: bool) -> Condition {
    if not {
        Condition::Not(Box::new(condition))
    } else {
        condition
    }
}

pub(super) fn unrecognized(name: &str, position: &str) -> PartiqlError {
    invalid(format!("Unrecognized function: {name} at {position}"))
}

pub(super) fn operand_count(name: &str, count: usize) -> PartiqlError {
    invalid(format!(
        "Incorrect number of operands for operator or function; operator or function: {name}, number of operands: {count}"
    ))
}

pub(super) fn operand_type(name: &str, found: &str) -> PartiqlError {
    invalid(format!(
        "Incorrect operand type for operator or function; operator or function: {name}, operand type: {found}"
    ))
}

pub(super) fn needs_path(name: &str) -> PartiqlError {
    invalid(format!(
        "Operator or function requires a document path; operator or function: {name}"
    ))
}

fn too_many_operands(count: usize) -> PartiqlError {
    invalid(format!(
        "The IN operator is provided with too many operands; number of operands: {count}"
    ))
}

fn static_type(operand: &Operand) -> Option<&'static str> {
    match operand {
        Operand::Value(value) => Some(value.type_name()),
        Operand::Size(_) => Some("N"),
        Operand::Path(_) => None,
    }
}

/// Refuses operands that have no order.
fn ordered<const N: usize>(operator: &str, operands: [&Operand; N]) -> Result<(), PartiqlError> {
    for operand in operands {
        match static_type(operand) {
            None | Some("S" | "N" | "B") => {}
            Some(found) => return Err(operand_type(operator, found)),
        }
    }
    Ok(())
}

fn check_bounds(low: &Value, high: &Value) -> Result<(), PartiqlError> {
    let above = match (low, high) {
        (Value::S(low), Value::S(high)) => low > high,
        (Value::N(low), Value::N(high)) => low > high,
        (Value::B(low), Value::B(high)) => low > high,
        _ => {
            return Err(invalid(
                "The BETWEEN operator requires same data type for lower and upper bounds",
            ));
        }
    };
    if above {
        return Err(invalid(
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound",
        ));
    }
    Ok(())
}

fn type_name(operand: &Operand) -> Result<String, PartiqlError> {
    match operand {
        Operand::Value(Value::S(name)) if TYPE_NAMES.contains(&name.as_str()) => Ok(name.clone()),
        Operand::Value(Value::S(name)) => Err(invalid(format!(
            "Invalid attribute type name found; type: {name}, valid types: {{{}}}",
            TYPE_NAMES.join(",")
        ))),
        other => Err(operand_type(
            "attribute_type",
            static_type(other).unwrap_or("{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"),
        )),
    }
}
