//! Tokens to raw expressions (expressions.md section 2).
//!
//! This file has the cursor and what all kinds share: paths, operands, parentheses and the size
//! limits. [`condition`] and [`update`] hold their grammars. Conditions are parsed with an explicit
//! stack; only function arguments and the sums of an update recurse, each under [`DEPTH_MAX`].

pub mod raw;

mod condition;
mod update;

pub use condition::condition;
pub use update::{Section, update};

use super::lexer::{Token, TokenKind, lex};
use super::{ExpressionError, ExpressionKind};
use raw::{RawCall, RawElement, RawOperand, RawPath};

/// Longest expression, in bytes of UTF-8.
pub const SIZE_MAX: usize = 4096;
/// Most operators in one expression.
pub const OPERATORS_MAX: usize = 300;
/// Most elements in one document path.
pub const PATH_ELEMENTS_MAX: usize = 32;
/// Deepest recursion of the parser. Nothing valid comes near: a nested function that can be valid
/// takes 17 bytes of the 4096, a nested sum one of the 300 operators.
const DEPTH_MAX: usize = 320;
/// Largest list index: a Java int, as DynamoDB reads it.
const INDEX_MAX: usize = i32::MAX as usize;

const CONDITION_KEYWORDS: [&str; 5] = ["AND", "OR", "NOT", "BETWEEN", "IN"];
const UPDATE_KEYWORDS: [&str; 4] = ["SET", "REMOVE", "ADD", "DELETE"];

/// A cursor over the tokens of one expression.
pub(super) struct Parser<'a> {
    kind: ExpressionKind,
    source: &'a str,
    tokens: Vec<Token<'a>>,
    position: usize,
    /// For each token that is a parenthesis with a partner, where that partner is.
    partners: Vec<Option<usize>>,
    operators: usize,
    /// Names of the calls being parsed, outermost first.
    calls: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    /// Checks size and emptiness, then splits `source` into tokens.
    fn new(kind: ExpressionKind, source: &'a str) -> Result<Parser<'a>, ExpressionError> {
        if source.len() > SIZE_MAX {
            let detail = format!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                source.len()
            );
            return Err(kind.invalid(detail));
        }
        let tokens = lex(source);
        if tokens.len() == 1 {
            return Err(kind.invalid("The expression can not be empty;"));
        }
        let partners = partners(&tokens);
        Ok(Parser {
            kind,
            source,
            tokens,
            position: 0,
            partners,
            operators: 0,
            calls: Vec::new(),
        })
    }

    /// The token `ahead` of the cursor; past the end, the end.
    fn peek(&self, ahead: usize) -> Token<'a> {
        let end = Token {
            kind: TokenKind::End,
            text: "",
            start: self.source.len(),
        };
        self.tokens
            .get(self.position + ahead)
            .copied()
            .unwrap_or(end)
    }

    fn advance(&mut self) {
        self.position += 1;
    }

    /// Consumes the symbol `symbol` if it is next.
    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.peek(0).is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ExpressionError> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// The keyword of this kind of expression that `token` is, in capitals.
    fn keyword(&self, token: Token<'_>) -> Option<&'static str> {
        let keywords: &[&'static str] = match self.kind {
            ExpressionKind::Projection => &[],
            ExpressionKind::Update => &UPDATE_KEYWORDS,
            _ => &CONDITION_KEYWORDS,
        };
        let word = token.kind == TokenKind::Word;
        keywords
            .iter()
            .copied()
            .find(|keyword| word && token.text.eq_ignore_ascii_case(keyword))
    }

    fn at_keyword(&self, keyword: &str) -> bool {
        self.keyword(self.peek(0)) == Some(keyword)
    }

    fn at_end(&self) -> bool {
        self.peek(0).kind == TokenKind::End
    }

    /// The syntax error at the cursor, with its neighbours as they stand in the source.
    fn unexpected(&self) -> ExpressionError {
        let token = self.peek(0);
        let before = self
            .position
            .checked_sub(1)
            .and_then(|index| self.tokens.get(index))
            .copied();
        let start = before.map_or(token.start, |before| before.start);
        let after = self.peek(1);
        let (text, end) = match (token.kind, after.kind) {
            (TokenKind::End, _) => ("<EOF>", before.map_or(token.start, |before| before.end())),
            (_, TokenKind::End) => (token.text, token.end()),
            _ => (token.text, after.end()),
        };
        let near = self.source.get(start..end).unwrap_or_default();
        self.kind
            .invalid(format!("Syntax error; token: \"{text}\", near: \"{near}\""))
    }

    /// A document path.
    fn path(&mut self) -> Result<RawPath<'a>, ExpressionError> {
        let head = self.element()?;
        let mut path = RawPath {
            head,
            tail: Vec::new(),
        };
        self.path_tail(&mut path)?;
        Ok(path)
    }

    /// A name or `#name`.
    fn element(&mut self) -> Result<RawElement<'a>, ExpressionError> {
        let token = self.peek(0);
        let element = match token.kind {
            TokenKind::Word if self.keyword(token).is_none() => RawElement::Name(token.text),
            TokenKind::NameRef => RawElement::Reference(token.text),
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(element)
    }

    /// The `.name` and `[index]` that follow.
    fn path_tail(&mut self, path: &mut RawPath<'a>) -> Result<(), ExpressionError> {
        loop {
            if self.eat(".") {
                path.tail.push(self.element()?);
            } else if self.eat("[") {
                let token = self.peek(0);
                if token.kind != TokenKind::Integer {
                    return Err(self.unexpected());
                }
                self.advance();
                self.expect("]")?;
                path.tail.push(RawElement::Index(self.index(token.text)?));
            } else {
                break;
            }
        }
        let levels = path.tail.len() + 1;
        if levels > PATH_ELEMENTS_MAX {
            let detail =
                format!("The document path has too many nesting levels; nesting levels: {levels}");
            return Err(self.kind.invalid(detail));
        }
        Ok(())
    }

    fn index(&self, text: &str) -> Result<usize, ExpressionError> {
        let index = text.parse().ok().filter(|index| *index <= INDEX_MAX);
        index.ok_or_else(|| {
            self.kind.invalid(format!(
                "List index is not within the allowable range; index: [{text}]"
            ))
        })
    }

    /// A path, value or call, in any number of parentheses. In conditions a path in parentheses may go
    /// on after them.
    fn operand(&mut self) -> Result<RawOperand<'a>, ExpressionError> {
        let mut open = 0_usize;
        while self.eat("(") {
            open += 1;
        }
        let mut operand = self.bare_operand()?;
        for _ in 0..open {
            self.expect(")")?;
            if let RawOperand::Path(path) = &mut operand
                && self.kind != ExpressionKind::Update
            {
                self.path_tail(path)?;
            }
        }
        Ok(operand)
    }

    fn bare_operand(&mut self) -> Result<RawOperand<'a>, ExpressionError> {
        let token = self.peek(0);
        match token.kind {
            TokenKind::ValueRef => {
                self.advance();
                Ok(RawOperand::Value(token.text))
            }
            TokenKind::Word if self.keyword(token).is_none() && self.peek(1).is("(") => {
                self.call().map(RawOperand::Call)
            }
            _ => self.path().map(RawOperand::Path),
        }
    }

    /// A function call; the cursor is at its name.
    fn call(&mut self) -> Result<RawCall<'a>, ExpressionError> {
        let name = self.peek(0).text;
        self.calls.push(name);
        if self.calls.len() > DEPTH_MAX {
            return Err(self.too_many_calls());
        }
        self.advance();
        self.expect("(")?;
        let mut args = Vec::new();
        if !self.peek(0).is(")") {
            args = self.operands()?;
        }
        self.expect(")")?;
        self.calls.pop();
        Ok(RawCall { name, args })
    }

    /// One or more operands with commas between.
    fn operands(&mut self) -> Result<Vec<RawOperand<'a>>, ExpressionError> {
        let mut operands = vec![self.operand()?];
        while self.eat(",") {
            operands.push(self.operand()?);
        }
        Ok(operands)
    }

    /// What is wrong with functions nested beyond [`DEPTH_MAX`]: the checker would find the same.
    fn too_many_calls(&self) -> ExpressionError {
        use super::check::{Function, misused, operand_type, unknown_function};
        let unknown = self
            .calls
            .iter()
            .find(|name| Function::named(name).is_none());
        let other = self
            .calls
            .iter()
            .find(|name| **name != Function::Size.name());
        let other = other.or(if self.kind == ExpressionKind::Update {
            self.calls.first()
        } else {
            None
        });
        match (unknown, other) {
            _ if self.has_redundant_parentheses() => self.redundant(),
            (Some(name), _) => unknown_function(self.kind, name),
            (None, Some(name)) => misused(self.kind, name),
            (None, None) => operand_type(self.kind, Function::Size.name(), "N"),
        }
    }

    /// Ends parsing: nothing may be left, then the limits that DynamoDB checks on a well-formed text.
    fn finish(&self) -> Result<(), ExpressionError> {
        if !self.at_end() {
            return Err(self.unexpected());
        }
        if self.has_redundant_parentheses() {
            return Err(self.redundant());
        }
        if self.operators > OPERATORS_MAX {
            return Err(self.too_many_operators());
        }
        Ok(())
    }

    /// DynamoDB stops counting at the first operator too many.
    fn too_many_operators(&self) -> ExpressionError {
        let count = OPERATORS_MAX + 1;
        self.kind.invalid(format!(
            "The expression contains too many operators; operator count: {count}"
        ))
    }

    fn redundant(&self) -> ExpressionError {
        self.kind
            .invalid("The expression has redundant parentheses;")
    }

    /// Whether some pair of parentheses holds nothing but another pair. Those of a call or of IN do
    /// not count as the outer one.
    fn has_redundant_parentheses(&self) -> bool {
        self.tokens.iter().enumerate().any(|(open, token)| {
            let close = self.partners.get(open).copied().flatten();
            let inner = self.partners.get(open + 1).copied().flatten();
            let group = open == 0
                || self
                    .tokens
                    .get(open - 1)
                    .is_none_or(|before| !self.takes_arguments(*before));
            let nested = self.tokens.get(open + 1).is_some_and(|next| next.is("("));
            token.is("(")
                && group
                && nested
                && inner.is_some()
                && inner.map(|inner| inner + 1) == close
        })
    }

    /// Whether a parenthesis after `token` opens a list of arguments.
    fn takes_arguments(&self, token: Token<'_>) -> bool {
        token.kind == TokenKind::Word && matches!(self.keyword(token), None | Some("IN"))
    }
}

/// A projection: paths with commas between.
pub fn projection(source: &str) -> Result<Vec<RawPath<'_>>, ExpressionError> {
    let mut parser = Parser::new(ExpressionKind::Projection, source)?;
    let mut paths = vec![parser.path()?];
    while parser.eat(",") {
        paths.push(parser.path()?);
    }
    parser.finish()?;
    Ok(paths)
}

/// Pairs up the parentheses.
fn partners(tokens: &[Token<'_>]) -> Vec<Option<usize>> {
    let mut partners = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.is("(") {
            open.push(index);
        } else if token.is(")")
            && let Some(start) = open.pop()
        {
            for (from, to) in [(start, index), (index, start)] {
                if let Some(partner) = partners.get_mut(from) {
                    *partner = Some(to);
                }
            }
        }
    }
    partners
}
