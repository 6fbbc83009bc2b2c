//! On which line of a file a key is, so that an error can say it.

use toml::de::{DeTable, DeValue};

/// The line of what errors call `key`: names of tables and keys, and numbers of elements from 1 on, with
/// anything between, such as `clients 2: region` or `workload.keys`. Of the deepest part that is there.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut words = key.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
    let mut words = words.by_ref().filter(|word| !word.is_empty());
    let first = words.next()?;
    let (name, mut value) = root.get_ref().get_key_value(first)?;
    let mut start = name.span().start;
    for word in words {
        let next = match value.get_ref() {
            DeValue::Table(table) => table.get_key_value(word).map(|(k, v)| (k.span().start, v)),
            DeValue::Array(list) => {
                let nth: usize = word.parse().unwrap_or(0);
                let element = nth.checked_sub(1).and_then(|at| list.get(at));
                element.map(|element| (element.span().start, element))
            }
            _ => None,
        };
        let Some((at, inner)) = next else { break };
        (start, value) = (at, inner);
    }
    let before = text.get(..start)?;
    Some(before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_wherever_it_is() {
        let text = "name = \"x\"\n\n[workload]\nkeys = 3\nmix = { put = 1,\n read = 2 }\n\n[[clients]]\n\
            region = \"a\"\n\n# two\n[[clients]]\nregion = \"b\"\n";
        for (key, line) in [
            ("name", 1),
            ("workload.keys", 4),
            ("workload.mix.read", 6),
            ("clients 2: region", 13),
            ("clients 1: region", 9),
            // What is missing is told by what it is missing from.
            ("clients 2: keys", 12),
            ("workload.cohorts", 3),
        ] {
            assert_eq!(line_of(text, key), Some(line), "{key}");
        }
        assert_eq!(line_of(text, "sun.peak"), None);
        assert_eq!(line_of("not toml", "name"), None);
    }
}
