//! Tokens of a statement: identifiers, literals, symbols; blanks and comments between them.

use super::PartiqlError;

/// What a token is. Keywords are words: which ones they are is for the parser to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or keyword as written.
    Word,
    /// An identifier in double quotes, unquoted.
    Quoted(String),
    /// A string literal, unquoted.
    Text(String),
    Number,
    Symbol,
    #[default]
    End,
}

/// A token and where it stands, for the messages that say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    line: usize,
    column: usize,
}

impl Token<'_> {
    /// `line:column:length`, counted in characters from 1.
    pub(super) fn position(&self) -> String {
        let length = self.text.chars().count();
        format!("{}:{}:{length}", self.line, self.column)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

/// Symbols, longer ones before their beginnings.
const SYMBOLS: [&str; 23] = [
    "<<", ">>", "<>", "!=", "<=", ">=", "||", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",",
    ".", ":", ";", "+", "-", "*",
];

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

/// All tokens of a statement, [`Kind::End`] last.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, PartiqlError> {
    let mut lexer = Lexer {
        rest: source,
        line: 1,
        column: 1,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let token = lexer.token()?;
        let end = token.kind == Kind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

impl<'a> Lexer<'a> {
    /// Takes `length` bytes, which end at a character.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) -> Result<(), PartiqlError> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            if self.rest.starts_with("--") {
                let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(unreadable)?;
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token<'a>, PartiqlError> {
        let (line, column) = (self.line, self.column);
        let (kind, length) = match self.rest.chars().next() {
            None => (Kind::End, 0),
            Some('\'') => {
                let (text, length) = quoted(self.rest, '\'')?;
                (Kind::Text(text), length)
            }
            Some('"') => {
                let (name, length) = quoted(self.rest, '"')?;
                (Kind::Quoted(name), length)
            }
            Some('?') => (Kind::Symbol, 1),
            Some(c) if c.is_alphabetic() || c == '_' || c == '$' => {
                let end = self.rest.find(|c: char| !is_word(c));
                (Kind::Word, end.unwrap_or(self.rest.len()))
            }
            Some(_) => match number_length(self.rest) {
                0 => {
                    let symbol = SYMBOLS.iter().find(|s| self.rest.starts_with(**s));
                    (Kind::Symbol, symbol.ok_or_else(unreadable)?.len())
                }
                length => (Kind::Number, length),
            },
        };
        let text = self.take(length);
        Ok(Token {
            kind,
            text,
            line,
            column,
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What the parser cannot read at all is refused without saying more.
fn unreadable() -> PartiqlError {
    PartiqlError::Malformed(String::new())
}

/// The content of a quoted token at the start of `source`, whose doubled quotes stand for one, and its
/// length with the quotes.
fn quoted(source: &str, quote: char) -> Result<(String, usize), PartiqlError> {
    let mut content = String::new();
    let mut chars = source.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Ok((content, at + quote.len_utf8()));
        }
    }
    Err(unreadable())
}

/// Bytes of the number at the start of `source`: digits around at most one point, then an exponent.
fn number_length(source: &str) -> usize {
    let digits = |from: usize| {
        let rest = source.get(from..).unwrap_or_default();
        rest.bytes().take_while(u8::is_ascii_digit).count()
    };
    let at = |index: usize| source.as_bytes().get(index).copied();
    let whole = digits(0);
    let mut length = whole;
    if at(length) == Some(b'.') {
        let fraction = digits(length + 1);
        if whole + fraction == 0 || (fraction == 0 && at(length + 1) == Some(b'.')) {
            return whole;
        }
        length += 1 + fraction;
    } else if whole == 0 {
        return 0;
    }
    if matches!(at(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(at(length + 1), Some(b'+' | b'-')));
        match digits(length + 1 + sign) {
            0 => {}
            exponent => length += 1 + sign + exponent,
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source)
            .expect(source)
            .iter()
            .map(|token| token.text)
            .collect()
    }

    #[test]
    fn tokens_are_split_where_they_end() {
        assert_eq!(
            texts("a<=.5e1 AND b<<'x'>>--c\n?"),
            ["a", "<=", ".5e1", "AND", "b", "<<", "'x'", ">>", "?", ""]
        );
        assert_eq!(texts("n-1.5 /* ** */;"), ["n", "-", "1.5", ";", ""]);
        assert_eq!(texts("1 e5 1e 2"), ["1", "e5", "1", "e", "2", ""]);
        assert_eq!(texts("a[0].b"), ["a", "[", "0", "]", ".", "b", ""]);
    }

    #[test]
    fn quotes_are_doubled_inside() {
        let tokens = tokens("'it''s' \"a\"\"b\" 'é'").expect("tokens");
        assert_eq!(tokens[0].kind, Kind::Text("it's".into()));
        assert_eq!(tokens[1].kind, Kind::Quoted("a\"b".into()));
        assert_eq!(tokens[2].kind, Kind::Text("é".into()));
    }

    #[test]
    fn positions_count_characters() {
        let tokens = tokens("é\n  SIZE(").expect("tokens");
        assert_eq!(tokens[1].position(), "2:3:4");
        assert_eq!(tokens[2].position(), "2:7:1");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for source in ["a # b", "a /* b", "'a", "\"a", "a & b", "`a`"] {
            assert_eq!(tokens(source), Err(unreadable()), "{source}");
        }
    }
}
