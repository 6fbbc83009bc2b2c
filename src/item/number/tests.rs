use proptest::prelude::*;

use super::*;

/// Numbers of every length, sign and scale, the ends of the range included.
pub(crate) fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        2 => (-1000i64..1000).prop_map(Number::from),
        1 => any::<i64>().prop_map(Number::from),
        4 => (any::<bool>(), "[1-9][0-9]{0,37}", -130i64..=125).prop_map(|(minus, digits, adjusted)| {
            let exponent = adjusted - (digits.len() as i64 - 1);
            let sign = if minus { "-" } else { "" };
            Number::parse(&format!("{sign}{digits}e{exponent}")).unwrap()
        }),
        1 => Just(Number::ZERO),
    ]
}
