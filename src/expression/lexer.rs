//! Text to tokens (expressions.md section 1). Lexing never fails: what no rule matches becomes
//! [`TokenKind::Bad`], so that the parser reports it like any other token out of place.

/// What a token is; its text is a slice of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A bare name: attribute, function or keyword.
    Word,
    /// `#name`.
    NameRef,
    /// `:value`.
    ValueRef,
    /// Digits, as in a list index.
    Integer,
    /// One of `( ) [ ] . , + - = < > <= >= <>`.
    Symbol,
    /// A character that begins no token.
    Bad,
    End,
}

/// One token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    pub start: usize,
}

impl Token<'_> {
    /// The byte after the token.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether this is the symbol `symbol`.
    pub fn is(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }
}

/// Splits `source` into tokens, the last of which is [`TokenKind::End`].
pub fn lex(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(rest) = source.get(start..) {
        let Some(first) = rest.chars().next() else {
            break;
        };
        if matches!(first, ' ' | '\t' | '\r' | '\n') {
            start += 1;
            continue;
        }
        let (kind, length) = measure(rest, first);
        debug_assert!(length > 0, "every token has text");
        let text = rest.get(..length).unwrap_or(rest);
        tokens.push(Token { kind, text, start });
        start += text.len();
    }
    tokens.push(Token {
        kind: TokenKind::End,
        text: "",
        start: source.len(),
    });
    tokens
}

/// The kind and length of the token at the head of `rest`, whose first character is `first`.
fn measure(rest: &str, first: char) -> (TokenKind, usize) {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let run = |from: usize| {
        rest.bytes()
            .skip(from)
            .take_while(|byte| part(byte))
            .count()
    };
    match first {
        'a'..='z' | 'A'..='Z' => (TokenKind::Word, run(0)),
        '#' | ':' => match (run(1), first) {
            (0, _) => (TokenKind::Bad, 1),
            (length, '#') => (TokenKind::NameRef, 1 + length),
            (length, _) => (TokenKind::ValueRef, 1 + length),
        },
        '0'..='9' => (
            TokenKind::Integer,
            rest.bytes().take_while(u8::is_ascii_digit).count(),
        ),
        '<' | '>' => {
            let two = ["<=", ">=", "<>"]
                .iter()
                .any(|symbol| rest.starts_with(symbol));
            (TokenKind::Symbol, if two { 2 } else { 1 })
        }
        '(' | ')' | '[' | ']' | '.' | ',' | '+' | '-' | '=' => (TokenKind::Symbol, 1),
        _ => (TokenKind::Bad, first.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(source: &str) -> Vec<&str> {
        lex(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_references_and_symbols() {
        assert_eq!(
            texts("a.#b[12]<=:c_1"),
            ["a", ".", "#b", "[", "12", "]", "<=", ":c_1", ""]
        );
        assert_eq!(texts("a<>b > c"), ["a", "<>", "b", ">", "c", ""]);
        assert_eq!(texts("_123a"), ["_", "123", "a", ""]);
        assert_eq!(texts("Pi#ctures"), ["Pi", "#ctures", ""]);
    }

    #[test]
    fn strangers_are_bad_tokens() {
        for source in ["#", ":", "!", "ü", "\"", "_"] {
            let tokens = lex(source);
            assert_eq!(
                tokens.first().map(|token| token.kind),
                Some(TokenKind::Bad),
                "{source}"
            );
            assert_eq!(tokens.len(), 2, "{source}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_slices_of_the_source_in_order(source in "\\PC{0,60}") {
            let mut last = 0;
            for token in lex(&source) {
                prop_assert!(token.start >= last);
                prop_assert_eq!(source.get(token.start..token.end()), Some(token.text));
                last = token.end();
            }
        }
    }
}
