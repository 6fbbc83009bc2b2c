//! About how much memory parsed expressions hold: what bounds of queues count.

use super::ast::{Condition, Operand, SetOperand, SetValue, Update};
use crate::item::size::value_size;

/// For a path or an operator: nodes are small next to the values that a request may bring.
const NODE_BYTES: usize = 64;

impl Condition {
    pub fn bytes(&self) -> usize {
        let inner = match self {
            Condition::Compare { left, right, .. } => left.bytes() + right.bytes(),
            Condition::Between { value, low, high } => value.bytes() + low.bytes() + high.bytes(),
            Condition::In { value, list } => {
                value.bytes() + list.iter().map(Operand::bytes).sum::<usize>()
            }
            Condition::Exists(_) | Condition::NotExists(_) => 0,
            Condition::HasType(operand, _) => operand.bytes(),
            Condition::BeginsWith(a, b) | Condition::Contains(a, b) => a.bytes() + b.bytes(),
            Condition::And(a, b) | Condition::Or(a, b) => a.bytes() + b.bytes(),
            Condition::Not(inner) => inner.bytes(),
        };
        NODE_BYTES + inner
    }
}

impl Operand {
    fn bytes(&self) -> usize {
        match self {
            Operand::Path(_) => NODE_BYTES,
            Operand::Value(value) => NODE_BYTES + value_size(value),
            Operand::Size(inner) => NODE_BYTES + inner.bytes(),
        }
    }
}

impl Update {
    pub fn bytes(&self) -> usize {
        let set = self.set.iter().map(|(_, value)| value.bytes());
        let add = self.add.iter().chain(&self.delete);
        let values = add.map(|(_, value)| NODE_BYTES + value_size(value));
        set.chain(values).sum::<usize>() + NODE_BYTES * (1 + self.remove.len())
    }
}

impl SetValue {
    fn bytes(&self) -> usize {
        match self {
            SetValue::Operand(a) => NODE_BYTES + a.bytes(),
            SetValue::Plus(a, b) | SetValue::Minus(a, b) => NODE_BYTES + a.bytes() + b.bytes(),
        }
    }
}

impl SetOperand {
    fn bytes(&self) -> usize {
        NODE_BYTES
            + match self {
                SetOperand::Path(_) => 0,
                SetOperand::Value(value) => value_size(value),
                SetOperand::IfNotExists(_, inner) => inner.bytes(),
                SetOperand::ListAppend(a, b) => a.bytes() + b.bytes(),
                SetOperand::Group(inner) => inner.bytes(),
            }
    }
}
