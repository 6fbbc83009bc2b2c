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
            parse(&format!("{sign}{digits}e{exponent}"))
        }),
        1 => Just(Number::ZERO),
    ]
}

/// Numbers close enough to one another that sums often fit, and often just do not.
fn near_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        (any::<bool>(), "[1-9][0-9]{0,37}", -45i64..=5).prop_map(|(minus, digits, exponent)| {
            parse(&format!(
                "{}{digits}e{exponent}",
                if minus { "-" } else { "" }
            ))
        }),
        (any::<bool>(), "[19]0{0,30}[09]{0,7}", -3i64..=3).prop_map(|(minus, digits, exponent)| {
            parse(&format!(
                "{}{digits}e{exponent}",
                if minus { "-" } else { "" }
            ))
        }),
        any_number(),
    ]
}

fn parse(text: &str) -> Number {
    Number::parse(text).unwrap()
}

/// Digits after the point that the independent arithmetic below keeps.
const PLACES: usize = 170;
/// Digits before it.
const WHOLE: usize = 130;

/// A number's digits at a fixed point, most significant first, from its printed form.
fn fixed(number: Number) -> (bool, Vec<i8>) {
    let text = number.to_string();
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text.as_str()), |t| (true, t));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded = format!("{whole:0>WHOLE$}{fraction:0<PLACES$}");
    (negative, padded.bytes().map(|b| (b - b'0') as i8).collect())
}

/// Schoolbook signed addition of two numbers' printed digits, printed; what `checked_add` is held against.
fn schoolbook_sum(a: Number, b: Number) -> String {
    let (a, b) = (fixed(a), fixed(b));
    let (high, low) = if a.1 >= b.1 { (a, b) } else { (b, a) };
    let sign = if high.0 == low.0 { 1 } else { -1 };
    let mut carry = 0;
    let mut digits: Vec<i8> = high.1.clone();
    for (digit, other) in digits.iter_mut().zip(&low.1).rev() {
        let sum = *digit + sign * other + carry;
        carry = sum.div_euclid(10);
        *digit = sum.rem_euclid(10);
    }
    assert_eq!(carry, 0);
    let text: String = digits.iter().map(|d| char::from(b'0' + *d as u8)).collect();
    let (whole, fraction) = text.split_at(WHOLE);
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    let whole = if whole.is_empty() { "0" } else { whole };
    let minus = if high.0 && (whole, fraction) != ("0", "") {
        "-"
    } else {
        ""
    };
    if fraction.is_empty() {
        format!("{minus}{whole}")
    } else {
        format!("{minus}{whole}.{fraction}")
    }
}

/// Whether a printed number is within 38 digits and the range.
fn representable(text: &str) -> Result<(), NumberError> {
    let text = text.trim_start_matches('-');
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    let significant = digits.trim_matches('0').len();
    let point = text.find('.').unwrap_or(text.len());
    let first = text.replace('.', "").find(|c| c != '0').unwrap_or(0);
    let adjusted = point as i64 - first as i64 - 1;
    if significant == 0 {
        Ok(())
    } else if significant > 38 || adjusted > 125 {
        Err(NumberError::Overflow)
    } else if adjusted < -130 {
        Err(NumberError::Underflow)
    } else {
        Ok(())
    }
}

#[test]
fn spellings_of_one_number_are_one_number() {
    for (texts, canonical) in [
        (
            &[
                "1000", "1e3", "+1000.0", "0001000", "1E+3", ".1e4", "10000e-1",
            ][..],
            "1000",
        ),
        (&["0.5", ".5", "0.50", "5e-1", "+.5", "00.500"][..], "0.5"),
        (
            &[
                "0",
                "-0",
                "0.0",
                "-.0e5",
                "0e126",
                "0e-9999999999999999999999",
                "0.",
            ][..],
            "0",
        ),
        (&["5", "5.", "5.e0"][..], "5"),
        (&["-12.340", "-1234e-2"][..], "-12.34"),
        (&["1200", "12e2"][..], "1200"),
        (&["-0.00120", "-12e-4"][..], "-0.0012"),
    ] {
        for text in texts {
            assert_eq!(parse(text), parse(canonical), "{text}");
            assert_eq!(parse(text).to_string(), canonical, "{text}");
        }
    }
}

#[test]
fn the_ends_of_the_range_print_in_full() {
    assert_eq!(parse("1E125").to_string(), format!("1{}", "0".repeat(125)));
    assert_eq!(parse("0.1e126"), parse("1e125"));
    assert_eq!(
        parse("1E-130").to_string(),
        format!("0.{}1", "0".repeat(129))
    );
    assert_eq!(parse(&"9".repeat(38)).to_string(), "9".repeat(38));
    let largest = format!("9.{}E+125", "9".repeat(37));
    assert_eq!(
        parse(&largest).to_string(),
        format!("{}{}", "9".repeat(38), "0".repeat(88))
    );
}

#[test]
fn what_is_no_number_has_its_message() {
    let message = |text: &str| Number::parse(text).unwrap_err().to_string();
    assert_eq!(
        message(""),
        "The parameter cannot be converted to a numeric value"
    );
    let not_numbers = [
        " ", "1 ", " 1", "a", "--1", "+-1", "1e", "1e+", "e5", ".", "-", "+", ".e1", "0x10", "NaN",
        "Infinity", "1_000", "1,0", "1.2.3", "1e5.0", "1e--1", "١", "1f", "-.",
    ];
    for text in not_numbers {
        let expected = format!("The parameter cannot be converted to a numeric value: {text}");
        assert_eq!(message(text), expected);
    }
    for text in [
        "1e126",
        "-1e126",
        "10e125",
        "1e99999999999999999999999",
        &"9".repeat(127),
    ] {
        assert_eq!(Number::parse(text), Err(NumberError::Overflow), "{text}");
    }
    for text in ["1e-131", "-0.1e-130", "1e-99999999999999999999999"] {
        assert_eq!(Number::parse(text), Err(NumberError::Underflow), "{text}");
    }
    let long = format!("1{}1", "0".repeat(37));
    for text in [
        long.as_str(),
        &"1".repeat(39),
        &format!("{}.5", "9".repeat(38)),
    ] {
        assert_eq!(
            Number::parse(text),
            Err(NumberError::TooManyDigits),
            "{text}"
        );
    }
    assert_eq!(
        NumberError::TooManyDigits.to_string(),
        "Attempting to store more than 38 significant digits in a Number"
    );
    assert_eq!(
        parse(&format!("{}00{}", "0".repeat(500), "1".repeat(38))),
        parse(&"1".repeat(38))
    );
    assert_eq!(parse(&format!("1{}e-900", "0".repeat(900))), parse("1"));
}

#[test]
fn sums_that_need_more_digits_overflow() {
    assert_eq!(
        parse("1e50").checked_add(parse("1")),
        Err(NumberError::Overflow)
    );
    assert_eq!(
        parse("1e38").checked_sub(parse("1")),
        Ok(parse(&"9".repeat(38)))
    );
    assert_eq!(
        parse("1e38").checked_add(parse("1")),
        Err(NumberError::Overflow)
    );
    assert_eq!(
        parse(&"9".repeat(38)).checked_add(parse("1")),
        Ok(parse("1e38"))
    );
    assert_eq!(
        parse("9e125").checked_add(parse("1e125")),
        Err(NumberError::Overflow)
    );
    assert_eq!(
        parse("1.5e-130").checked_sub(parse("1e-130")),
        Err(NumberError::Underflow)
    );
    assert_eq!(parse("0.1").checked_add(parse("0.2")), Ok(parse("0.3")));
    assert_eq!(parse("5").checked_sub(parse("5")), Ok(Number::ZERO));
    assert_eq!(
        Number::ZERO.checked_sub(parse("1e125")),
        Ok(parse("-1e125"))
    );
}

#[test]
fn integers_convert_both_ways() {
    for value in [0, 1, -1, 10, i64::MAX, i64::MIN] {
        assert_eq!(Number::from(value).to_i64(), Some(value));
        assert_eq!(Number::from(value), parse(&value.to_string()));
    }
    assert_eq!(parse("1.9").to_i64(), Some(1));
    assert_eq!(parse("-1.9").to_i64(), Some(-1));
    assert_eq!(parse("1e-130").to_i64(), Some(0));
    assert_eq!(parse("1e125").to_i64(), None);
    assert_eq!(parse("9223372036854775808").to_i64(), None);
}

#[test]
fn bytes_that_no_number_has_are_refused() {
    assert_eq!(Number::from_sort_bytes(&[]), None);
    assert_eq!(Number::from_sort_bytes(&[0; 18]), None);
    assert_eq!(Number::from_sort_bytes(&[0x7F; 18]), None);
    let mut long = parse("1").to_sort_bytes().to_vec();
    long.push(0);
    assert_eq!(Number::from_sort_bytes(&long), None);
    // A complemented zero would be a second spelling of zero.
    let complemented = Number::ZERO.to_sort_bytes().map(|b| !b);
    assert_eq!(Number::from_sort_bytes(&complemented), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn printed_numbers_parse_to_themselves(number in any_number()) {
        prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "[-+]?[0-9]{0,60}[.]?[0-9]{0,60}([eE][-+]?[0-9]{0,4})?") {
        if let Ok(number) = Number::parse(&text) {
            prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
            // Doubles agree wherever they can tell.
            let double: f64 = text.parse().unwrap();
            let ours: f64 = number.to_string().parse().unwrap();
            prop_assert!((double - ours).abs() <= double.abs() * 1e-15);
        }
    }

    #[test]
    fn sort_bytes_order_as_numbers_do(a in any_number(), b in near_number()) {
        prop_assert_eq!(a.to_sort_bytes().cmp(&b.to_sort_bytes()), a.cmp(&b));
        prop_assert_eq!(Number::from_sort_bytes(&a.to_sort_bytes()), Some(a));
    }

    #[test]
    fn order_is_the_order_of_the_digits(a in near_number(), b in near_number()) {
        let key = |n| match fixed(n) {
            (true, digits) => digits.iter().map(|d| -d).collect::<Vec<i8>>(),
            (false, digits) => digits,
        };
        prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
    }

    #[test]
    fn sums_are_the_schoolbook_sums(a in near_number(), b in near_number()) {
        let exact = schoolbook_sum(a, b);
        let sum = a.checked_add(b);
        match representable(&exact) {
            Ok(()) => prop_assert_eq!(sum.map(|n| n.to_string()), Ok(exact)),
            Err(error) => prop_assert_eq!(sum, Err(error)),
        }
        prop_assert_eq!(b.checked_add(a), a.checked_add(b));
        if let Ok(sum) = a.checked_add(b) {
            prop_assert_eq!(sum.checked_sub(b), Ok(a));
        }
    }
}
