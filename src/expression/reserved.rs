//! The words that may not stand as bare attribute names (the developer guide's list of reserved words).

const WORDS: &str = include_str!("reserved-words.txt");

static SORTED: std::sync::LazyLock<Vec<&'static str>> =
    std::sync::LazyLock::new(|| WORDS.lines().collect());

/// Whether `name` is a reserved word, in whatever case it is written.
pub fn is_reserved(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SORTED.binary_search(&upper.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_upper_case_and_complete() {
        assert!(
            SORTED.windows(2).all(|pair| pair[0] < pair[1]),
            "binary search needs strict order"
        );
        assert!(SORTED.iter().all(|word| {
            word.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        }));
        assert_eq!(SORTED.len(), 573);
    }

    #[test]
    fn case_does_not_matter() {
        assert!(is_reserved("abOrT"));
        assert!(is_reserved("name"));
        assert!(is_reserved("ZONE"));
        assert!(!is_reserved("pk"));
        assert!(!is_reserved(""));
    }
}
