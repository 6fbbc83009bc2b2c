//! Item sizes as DynamoDB counts them (values-and-keys.md section 5).

use super::{Item, Number, Value};

/// The most bytes an item may have; exactly this many are allowed.
pub const ITEM_SIZE_MAX: usize = 409_600;

/// What a list or map costs by itself, and each of its elements besides its own size.
const CONTAINER: usize = 3;
const ELEMENT: usize = 1;

/// The size of an item: its attribute names and values.
pub fn item_size(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

/// The size of one value.
pub fn value_size(value: &Value) -> usize {
    match value {
        Value::S(text) => text.len(),
        Value::N(number) => number_size(*number),
        Value::B(bytes) => bytes.len(),
        Value::Bool(_) | Value::Null => 1,
        Value::Ss(set) => set.iter().map(String::len).sum(),
        Value::Ns(set) => set.iter().map(|n| number_size(*n)).sum(),
        Value::Bs(set) => set.iter().map(Vec::len).sum(),
        Value::L(list) => CONTAINER + list.iter().map(|v| value_size(v) + ELEMENT).sum::<usize>(),
        Value::M(map) => {
            CONTAINER
                + map
                    .iter()
                    .map(|(name, v)| name.len() + value_size(v) + ELEMENT)
                    .sum::<usize>()
        }
    }
}

/// The size of a number: one byte, one for each two significant digits on either side of the point, one
/// for a minus. Zeros that only place the point cost nothing.
pub fn number_size(number: Number) -> usize {
    let digits = usize::try_from(number.digits()).unwrap_or_default();
    let places = if number.exponent() < 0 {
        usize::from(number.exponent().unsigned_abs())
    } else {
        0
    };
    let fraction = places.min(digits);
    let whole = digits - fraction;
    1 + whole.div_ceil(2) + fraction.div_ceil(2) + usize::from(number.is_negative())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(text: &str) -> usize {
        number_size(Number::parse(text).unwrap())
    }

    #[test]
    fn numbers_cost_what_was_measured() {
        for (text, size) in [
            ("0", 1),
            ("0.0000001", 2),
            ("1E125", 2),
            ("42", 2),
            ("-42", 3),
            ("1.5", 3),
            ("100.5", 4),
            ("123", 3),
            ("99999999999999999999999999999999999999", 20),
        ] {
            assert_eq!(size_of(text), size, "{text}");
        }
    }

    #[test]
    fn the_example_of_the_guide() {
        let item = Item::from([
            ("shirt-color".to_owned(), Value::S("R".to_owned())),
            ("shirt-size".to_owned(), Value::S("M".to_owned())),
        ]);
        assert_eq!(item_size(&item), 23);
    }

    #[test]
    fn containers_cost_three_bytes_and_one_for_each_element() {
        assert_eq!(value_size(&Value::L(vec![])), 3);
        assert_eq!(
            value_size(&Value::L(vec![Value::Null, Value::S("ab".into())])),
            3 + 2 + 3
        );
        let map = Value::M([("k".to_owned(), Value::Bool(true))].into());
        assert_eq!(value_size(&map), 3 + 1 + 1 + 1);
        assert_eq!(
            value_size(&Value::Ss(["a".to_owned(), "bc".to_owned()].into())),
            3
        );
    }
}
