//! From text to statements. One pass: parameters go to their places as they are met.

mod condition;
mod literal;
mod update;

use super::keywords::is_keyword;
use super::lexer::{self, Kind, Token};
use super::{
    Column, Delete, Insert, Order, PartiqlError, Returning, STATEMENT_MAX, Select, Statement,
    UpdateStatement,
};
use crate::expression::{Condition, Path, Step};
use crate::item::Value;

/// The most elements of a document path (expressions.md section 1).
const PATH_ELEMENTS_MAX: usize = crate::expression::parser::PATH_ELEMENTS_MAX;

/// Parses one statement, with `parameters` in the places of its question marks. Parameters beyond those
/// are allowed.
pub fn parse(source: &str, parameters: &[Value]) -> Result<Statement, PartiqlError> {
    if source.chars().count() > STATEMENT_MAX {
        return Err(malformed("Statement is too long"));
    }
    let mut parser = Parser {
        tokens: lexer::tokens(source)?,
        at: 0,
        parameters,
        used: 0,
        end: Token::default(),
    };
    let statement = parser.statement()?;
    parser.eat_symbol(";");
    if parser.peek().kind == Kind::End {
        Ok(statement)
    } else {
        Err(malformed("Unexpected token after expression"))
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    parameters: &'a [Value],
    /// How many parameters found their places.
    used: usize,
    /// What is behind the last token.
    end: Token<'a>,
}

fn malformed(detail: &str) -> PartiqlError {
    PartiqlError::Malformed(detail.into())
}

fn invalid(message: impl Into<String>) -> PartiqlError {
    PartiqlError::Invalid(message.into())
}

/// What the parser says where a symbol is missing.
fn expected(symbol: &str) -> PartiqlError {
    malformed(match symbol {
        "(" => "Expected LEFT_PAREN",
        ")" => "Expected RIGHT_PAREN",
        "]" => "Expected RIGHT_BRACKET",
        "}" => "Expected RIGHT_CURLY",
        ">>" => "Expected RIGHT_DOUBLE_ANGLE_BRACKET",
        ":" => "Expected COLON",
        _ => "Unexpected term",
    })
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> &Token<'a> {
        self.tokens.get(self.at + by).unwrap_or(&self.end)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek().is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_word(word);
        self.at += usize::from(found);
        found
    }

    fn eat_words(&mut self, first: &str, second: &str) -> bool {
        let found = self.peek().is_word(first) && self.ahead(1).is_word(second);
        self.at += if found { 2 } else { 0 };
        found
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), PartiqlError> {
        if self.eat_symbol(symbol) {
            Ok(())
        } else {
            Err(expected(symbol))
        }
    }

    /// A word right before a parenthesis: the name of a function.
    fn at_call(&self) -> bool {
        self.peek().kind == Kind::Word && self.ahead(1).is_symbol("(")
    }

    fn parameter(&mut self) -> Result<Value, PartiqlError> {
        let value = self.parameters.get(self.used).cloned();
        self.used += 1;
        value.ok_or_else(|| invalid("Number of parameters in request and statement don't match."))
    }

    fn identifier(&mut self) -> Result<String, PartiqlError> {
        let token = self.next();
        match token.kind {
            Kind::Quoted(name) if !name.is_empty() => Ok(name),
            Kind::Word if is_keyword(token.text) => Err(malformed("Unexpected keyword")),
            Kind::Word => Ok(token.text.to_owned()),
            _ => Err(malformed("Unexpected term")),
        }
    }

    fn path(&mut self) -> Result<Path, PartiqlError> {
        let root = self.identifier()?;
        let mut steps = Vec::new();
        loop {
            if self.eat_symbol(".") {
                let name = self.identifier();
                steps.push(Step::Field(
                    name.map_err(|_| malformed("Invalid path dot component"))?,
                ));
            } else if self.eat_symbol("[") {
                steps.push(self.subscript()?);
                self.expect_symbol("]")?;
            } else {
                return Ok(Path { root, steps });
            }
            if steps.len() >= PATH_ELEMENTS_MAX {
                return Err(invalid(format!(
                    "The document path has too many nesting elements; nesting levels: {}",
                    steps.len() + 1
                )));
            }
        }
    }

    fn subscript(&mut self) -> Result<Step, PartiqlError> {
        let token = self.next();
        match token.kind {
            Kind::Text(name) if !name.is_empty() => Ok(Step::Field(name)),
            Kind::Number if token.text.bytes().all(|b| b.is_ascii_digit()) => {
                let index: u32 = token.text.parse().map_err(|_| {
                    invalid(format!(
                        "List index is not within the allowable range; index: [{}]",
                        token.text
                    ))
                })?;
                usize::try_from(index)
                    .map(Step::Index)
                    .map_err(|_| malformed("Invalid path component"))
            }
            _ => Err(malformed("Invalid path component")),
        }
    }

    // --- statements -----------------------------------------------------------------------------------

    fn statement(&mut self) -> Result<Statement, PartiqlError> {
        if self.eat_word("SELECT") {
            return self.select().map(Statement::Select);
        }
        if self.eat_words("INSERT", "INTO") {
            return self.insert();
        }
        if self.eat_word("UPDATE") {
            let table = self.written_table()?;
            let update = self.update()?;
            let filter = self.filter()?;
            return self.updated(table, update, filter);
        }
        if self.eat_words("DELETE", "FROM") {
            return self.delete();
        }
        if self.eat_word("FROM") {
            let table = self.written_table()?;
            let filter = self.filter()?;
            let update = self.update()?;
            return self.updated(table, update, filter);
        }
        if self.peek().is_word("EXISTS") && self.ahead(1).is_symbol("(") {
            return self.exists();
        }
        Err(malformed("Expected data manipulation"))
    }

    fn exists(&mut self) -> Result<Statement, PartiqlError> {
        self.at += 2;
        if !self.eat_word("SELECT") {
            return Err(malformed("Expected data manipulation"));
        }
        let select = self.select()?;
        self.expect_symbol(")")?;
        Ok(Statement::Exists(select))
    }

    fn select(&mut self) -> Result<Select, PartiqlError> {
        let columns = self.columns()?;
        if !self.eat_word("FROM") {
            return Err(malformed("Expected FROM"));
        }
        let (table, index) = self.source()?;
        self.refuse_alias()?;
        let filter = self.filter()?;
        let order = self.order()?;
        if self.peek().is_word("LIMIT") {
            let position = self.peek().position();
            return Err(invalid(format!("Unsupported clause: LIMIT at {position}")));
        }
        Ok(Select {
            table,
            index,
            columns,
            filter,
            order,
        })
    }

    fn columns(&mut self) -> Result<Option<Vec<Column>>, PartiqlError> {
        if self.eat_symbol("*") {
            return Ok(None);
        }
        let mut columns: Vec<Column> = Vec::new();
        loop {
            let first = self.peek();
            let names = matches!(first.kind, Kind::Word | Kind::Quoted(_));
            if !names || self.at_call() {
                let position = first.position();
                return Err(invalid(format!("Unexpected path component at {position}")));
            }
            let path = self.path()?;
            let name = column_name(&path);
            if columns.iter().any(|other| other.name == name) {
                let message = format!("Duplicate identifiers in select clause: {name}");
                return Err(invalid(message));
            }
            columns.push(Column { path, name });
            if self.eat_word("AS") {
                return Err(aliasing());
            }
            if !self.eat_symbol(",") {
                return Ok(Some(columns));
            }
        }
    }

    /// A table, perhaps with an index.
    fn source(&mut self) -> Result<(String, Option<String>), PartiqlError> {
        let table = self.identifier()?;
        let index = if self.eat_symbol(".") {
            let name = self.identifier();
            Some(name.map_err(|_| malformed("Invalid path dot component"))?)
        } else {
            None
        };
        if self.peek().is_symbol(".") || self.peek().is_symbol("[") {
            return Err(malformed("Invalid path component"));
        }
        Ok((table, index))
    }

    /// The table of an UPDATE or DELETE.
    fn written_table(&mut self) -> Result<String, PartiqlError> {
        let (table, index) = self.source()?;
        self.refuse_alias()?;
        match index {
            None => Ok(table),
            Some(_) => Err(invalid("This operation is not supported on an index")),
        }
    }

    fn refuse_alias(&self) -> Result<(), PartiqlError> {
        let token = self.peek();
        let names = match token.kind {
            Kind::Quoted(_) => true,
            Kind::Word => token.is_word("AS") || !is_keyword(token.text),
            _ => false,
        };
        if names { Err(aliasing()) } else { Ok(()) }
    }

    fn filter(&mut self) -> Result<Option<Condition>, PartiqlError> {
        if self.eat_word("WHERE") {
            self.condition().map(Some)
        } else {
            Ok(None)
        }
    }

    fn order(&mut self) -> Result<Vec<Order>, PartiqlError> {
        let mut order = Vec::new();
        if !self.eat_words("ORDER", "BY") {
            return Ok(order);
        }
        loop {
            let attribute = self.identifier()?;
            let descending = self.eat_word("DESC");
            if !descending {
                self.eat_word("ASC");
            }
            order.push(Order {
                attribute,
                descending,
            });
            if !self.eat_symbol(",") {
                return Ok(order);
            }
        }
    }

    fn insert(&mut self) -> Result<Statement, PartiqlError> {
        let (table, index) = self.source()?;
        if index.is_some() {
            return Err(invalid("FROM clause may only contain a single table name"));
        }
        if !self.eat_word("VALUE") {
            return Err(match self.peek().kind {
                Kind::Word if is_keyword(self.peek().text) => malformed("Unexpected keyword"),
                _ => malformed("Unexpected token after expression"),
            });
        }
        match self.item()? {
            Value::M(item) => Ok(Statement::Insert(Insert { table, item })),
            _ => Err(malformed("Expected a tuple")),
        }
    }

    fn updated(
        &mut self,
        table: String,
        update: crate::expression::Update,
        filter: Option<Condition>,
    ) -> Result<Statement, PartiqlError> {
        let returning = self.returning()?;
        Ok(Statement::Update(UpdateStatement {
            table,
            update,
            filter,
            returning,
        }))
    }

    fn delete(&mut self) -> Result<Statement, PartiqlError> {
        let table = self.written_table()?;
        let filter = self.filter()?;
        let returning = self.returning()?;
        match returning {
            None | Some(Returning::AllOld) => Ok(Statement::Delete(Delete {
                table,
                filter,
                returning,
            })),
            Some(other) => Err(invalid(format!(
                "Invalid returning clause: RETURNING {} *. Only RETURNING ALL OLD * is allowed in DELETE statements.",
                other.name()
            ))),
        }
    }

    fn returning(&mut self) -> Result<Option<Returning>, PartiqlError> {
        if !self.eat_word("RETURNING") {
            return Ok(None);
        }
        let all = self.eat_word("ALL");
        if !all && !self.eat_word("MODIFIED") {
            return Err(malformed("Expected ALL or MODIFIED in a RETURNING clause"));
        }
        let old = self.eat_word("OLD");
        if !old && !self.eat_word("NEW") {
            return Err(malformed("Expected OLD or NEW in a RETURNING clause"));
        }
        if !self.eat_symbol("*") {
            return Err(malformed("Expected * in a RETURNING clause"));
        }
        Ok(Some(match (all, old) {
            (true, true) => Returning::AllOld,
            (true, false) => Returning::AllNew,
            (false, true) => Returning::ModifiedOld,
            (false, false) => Returning::ModifiedNew,
        }))
    }
}

fn aliasing() -> PartiqlError {
    invalid("Aliasing is not supported")
}

/// The name under which a path's value is returned: its last name and the indexes after it.
fn column_name(path: &Path) -> String {
    let mut name = path.root.clone();
    for step in &path.steps {
        match step {
            Step::Field(field) => name.clone_from(field),
            Step::Index(index) => name.push_str(&format!("[{index}]")),
        }
    }
    name
}

#[cfg(test)]
mod tests;
