//! SET and REMOVE.

use super::condition::{needs_path, operand_count, operand_type, unrecognized};
use super::{Parser, PartiqlError, invalid, malformed};
use crate::expression::projection::check_paths;
use crate::expression::{ExpressionKind, Path, SetOperand, SetValue, Update};
use crate::item::Value;

/// How deep calls may stand inside one another.
const CALLS_MAX: usize = 16;

/// How many operands a sum may have.
const SUMMANDS_MAX: usize = 32;

impl Parser<'_> {
    /// One or more clauses of SET or REMOVE.
    pub(super) fn update(&mut self) -> Result<Update, PartiqlError> {
        let mut update = Update::default();
        loop {
            if self.eat_word("SET") {
                self.set_clause(&mut update)?;
                while self.eat_symbol(",") {
                    self.set_clause(&mut update)?;
                }
            } else if self.eat_word("REMOVE") {
                update.remove.push(self.path()?);
                while self.eat_symbol(",") {
                    update.remove.push(self.path()?);
                }
            } else {
                break;
            }
        }
        let targets: Vec<Path> = update.targets().cloned().collect();
        if targets.is_empty() {
            return Err(malformed("Expected data manipulation"));
        }
        check_paths(ExpressionKind::Update, &targets).map_err(|error| {
            let message = error.0.strip_prefix("Invalid UpdateExpression: ");
            invalid(message.unwrap_or(&error.0))
        })?;
        Ok(update)
    }

    fn set_clause(&mut self, update: &mut Update) -> Result<(), PartiqlError> {
        let path = self.path()?;
        if !self.eat_symbol("=") {
            return Err(malformed("Expected = in a SET clause"));
        }
        if self.at_call() {
            let adds = self.peek().is_word("set_add");
            if adds || self.peek().is_word("set_delete") {
                let members = self.set_members(&path)?;
                let clauses = if adds {
                    &mut update.add
                } else {
                    &mut update.delete
                };
                clauses.push((path, members));
                return Ok(());
            }
        }
        let value = self.set_value()?;
        update.set.push((path, value));
        Ok(())
    }

    /// The members of `set_add(path, <<...>>)` or `set_delete(path, <<...>>)`.
    fn set_members(&mut self, target: &Path) -> Result<Value, PartiqlError> {
        let function = self.next();
        let name = function.text.to_ascii_uppercase();
        self.expect_symbol("(")?;
        let first_position = self.peek().position();
        let mut arguments = Vec::new();
        while !self.eat_symbol(")") {
            if !arguments.is_empty() && !self.eat_symbol(",") {
                return Err(super::expected(")"));
            }
            arguments.push(if self.at_value() {
                SetOperand::Value(self.value()?)
            } else {
                SetOperand::Path(self.path()?)
            });
        }
        let Ok([first, second]) = <[SetOperand; 2]>::try_from(arguments) else {
            return Err(invalid(format!(
                "{name} must have exactly two arguments at {}",
                function.position()
            )));
        };
        if !matches!(&first, SetOperand::Path(path) if path == target) {
            return Err(invalid(format!(
                "The first argument to {name} must equal the assignment value at {}",
                function.position()
            )));
        }
        match second {
            SetOperand::Value(set @ (Value::Ss(_) | Value::Ns(_) | Value::Bs(_))) => Ok(set),
            _ => Err(invalid(format!(
                "The second argument to {name} must be a value with type SET at {first_position}"
            ))),
        }
    }

    fn set_value(&mut self) -> Result<SetValue, PartiqlError> {
        let mut value = SetValue::Operand(self.set_operand(0)?);
        for _ in 0..SUMMANDS_MAX {
            let plus = self.peek().is_symbol("+");
            if !plus && !self.peek().is_symbol("-") {
                return Ok(value);
            }
            let operator = self.next().text;
            let right = self.set_operand(0)?;
            let left = match value {
                SetValue::Operand(operand) => operand,
                sum => SetOperand::Group(Box::new(sum)),
            };
            for operand in [&left, &right] {
                match operand {
                    SetOperand::Value(value) if !matches!(value, Value::N(_)) => {
                        return Err(operand_type(operator, value.type_name()));
                    }
                    _ => {}
                }
            }
            value = if plus {
                SetValue::Plus(left, right)
            } else {
                SetValue::Minus(left, right)
            };
        }
        Err(malformed("Too many operands"))
    }

    /// Recurses into calls, at most [`CALLS_MAX`] deep.
    fn set_operand(&mut self, depth: usize) -> Result<SetOperand, PartiqlError> {
        if self.at_value() {
            return self.value().map(SetOperand::Value);
        }
        if !self.at_call() {
            return self.path().map(SetOperand::Path);
        }
        if depth >= CALLS_MAX {
            return Err(malformed("Calls are nested too deep"));
        }
        let function = self.next();
        let name = function.text.to_ascii_lowercase();
        if !matches!(name.as_str(), "list_append" | "if_not_exists") {
            return Err(unrecognized(&name, &function.position()));
        }
        self.expect_symbol("(")?;
        let mut arguments = Vec::new();
        while !self.eat_symbol(")") {
            if !arguments.is_empty() && !self.eat_symbol(",") {
                return Err(super::expected(")"));
            }
            arguments.push(self.set_operand(depth + 1)?);
        }
        let [first, second] = <[SetOperand; 2]>::try_from(arguments)
            .map_err(|arguments| operand_count(&name, arguments.len()))?;
        match (name.as_str(), first) {
            ("list_append", first) => {
                for operand in [&first, &second] {
                    match operand {
                        SetOperand::Value(value) if !matches!(value, Value::L(_)) => {
                            return Err(operand_type(&name, value.type_name()));
                        }
                        _ => {}
                    }
                }
                Ok(SetOperand::ListAppend(Box::new(first), Box::new(second)))
            }
            (_, SetOperand::Path(path)) => Ok(SetOperand::IfNotExists(path, Box::new(second))),
            _ => Err(needs_path(&name)),
        }
    }
}
