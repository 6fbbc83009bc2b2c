//! `[[step]]`: what clients ask and operators do. Members with a capital are the API's own, as they are there; the
//! others are the scenario's.

use serde_json::{Map, Value as Json, json};

use super::fields::{Fields, Node, Read, flaw, list, plain, start, text, unknown};
use super::read::Known;
use super::{Act, Answer, Ask, Operator, Step, Table, value};
use crate::simulation::scenario::Span;

/// What a member of a request is.
#[derive(Clone, Copy, PartialEq)]
enum Member {
    /// A map of attributes.
    Values,
    /// The same, with all of the key's.
    Item,
    /// The key and nothing else.
    Key,
    /// An index of the table.
    Index,
    Plain,
}

type Members = &'static [(&'static str, Member)];

const CONDITION: Members = &[
    ("ConditionExpression", Member::Plain),
    ("ExpressionAttributeNames", Member::Plain),
    ("ExpressionAttributeValues", Member::Values),
    ("ReturnValuesOnConditionCheckFailure", Member::Plain),
];
const RETURN: Members = &[("ReturnValues", Member::Plain)];
const ITEM: Members = &[("Item", Member::Item)];
const KEY: Members = &[("Key", Member::Key)];
const UPDATE: Members = &[("UpdateExpression", Member::Plain)];
const READ: Members = &[
    ("ConsistentRead", Member::Plain),
    ("ProjectionExpression", Member::Plain),
    ("ExpressionAttributeNames", Member::Plain),
];
const PAGE: Members = &[
    ("FilterExpression", Member::Plain),
    ("ExpressionAttributeValues", Member::Values),
    ("IndexName", Member::Index),
    ("Limit", Member::Plain),
    ("Select", Member::Plain),
];
const QUERY: Members = &[
    ("KeyConditionExpression", Member::Plain),
    ("ScanIndexForward", Member::Plain),
];

/// An operation of a table: the step's word for it, the API's, and its members.
struct Operation {
    word: &'static str,
    name: &'static str,
    members: &'static [Members],
    returns: Returns,
}

#[derive(Clone, Copy, PartialEq)]
enum Returns {
    Item,
    Page,
    Nothing,
}

const OPERATIONS: &[Operation] = &[
    Operation {
        word: "put",
        name: "PutItem",
        members: &[ITEM, CONDITION, RETURN],
        returns: Returns::Item,
    },
    Operation {
        word: "update",
        name: "UpdateItem",
        members: &[KEY, UPDATE, CONDITION, RETURN],
        returns: Returns::Item,
    },
    Operation {
        word: "delete",
        name: "DeleteItem",
        members: &[KEY, CONDITION, RETURN],
        returns: Returns::Item,
    },
    Operation {
        word: "get",
        name: "GetItem",
        members: &[KEY, READ],
        returns: Returns::Item,
    },
    Operation {
        word: "query",
        name: "Query",
        members: &[QUERY, READ, PAGE],
        returns: Returns::Page,
    },
    Operation {
        word: "scan",
        name: "Scan",
        members: &[READ, PAGE],
        returns: Returns::Page,
    },
];

/// The actions of a transaction, with the word for each.
const ACTIONS: &[(&str, &str, &[Members])] = &[
    ("put", "Put", &[ITEM, CONDITION]),
    ("update", "Update", &[KEY, UPDATE, CONDITION]),
    ("delete", "Delete", &[KEY, CONDITION]),
    ("check", "ConditionCheck", &[KEY, CONDITION]),
];

const TRANSACTION: &str = "transact_write";
const ACTS: [&str; 14] = [
    "put",
    "update",
    "delete",
    "get",
    "query",
    "scan",
    TRANSACTION,
    "cut",
    "isolate",
    "heal",
    "kill",
    "restart",
    "skew",
    "slow",
];

/// Exceptions that an operation of a step may have.
const EXCEPTIONS: [&str; 11] = [
    "ConditionalCheckFailedException",
    "TransactionCanceledException",
    "TransactionConflictException",
    "ValidationException",
    "ResourceNotFoundException",
    "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceededException",
    "IdempotentParameterMismatchException",
    "ThrottlingException",
    "ServiceUnavailable",
    "InternalServerError",
];
/// With it a request may be as wrong as it likes.
const VALIDATION: &str = "ValidationException";

/// Reads a step, and says where its time is written.
pub fn step(node: &Node<'_>, known: &Known<'_>) -> Read<(usize, Step)> {
    let mut fields = Fields::of(node, "a step")?;
    let at = start(fields.need("at")?);
    let at_us = fields.span_us("at")?.unwrap_or(0);
    let act = match fields.present(&ACTS).as_slice() {
        [] => {
            // The key that is misspelt is told rather than that there is none.
            for also in ["region", "expect_error", "expect_item", "expect_count"] {
                fields.take(also);
            }
            let (at, all) = (fields.at, ACTS.join(", "));
            fields.finish()?;
            return flaw(at, format!("a step does one of {all}"));
        }
        [TRANSACTION] => Act::Ask(Box::new(transaction(&mut fields, known)?)),
        [word] => match OPERATIONS.iter().find(|operation| operation.word == *word) {
            Some(operation) => Act::Ask(Box::new(ask(&mut fields, operation, known)?)),
            None => Act::Operate(operator(&mut fields, word, known)?),
        },
        [one, other, ..] => {
            let reason = format!("a step does one thing, and this has '{one}' and '{other}'");
            return flaw(fields.at, reason);
        }
    };
    let line = known.line(fields.at);
    fields.finish()?;
    Ok((at, Step { line, at_us, act }))
}

fn ask(fields: &mut Fields<'_, '_>, operation: &Operation, known: &Known<'_>) -> Read<Ask> {
    let region = known.region(fields.need("region")?)?;
    let answer = answer(fields, operation.returns)?;
    let lax = answer.error.as_deref() == Some(VALIDATION);
    let table = named_table(fields, operation.word, known)?;
    let mut body = request(fields, operation.members, table, lax)?;
    body.insert("TableName".into(), table.name.as_str().into());
    Ok(Ask {
        region,
        operation: operation.name,
        table: table.name.clone(),
        body: Json::Object(body),
        answer,
    })
}

fn named_table<'k>(
    fields: &mut Fields<'_, '_>,
    word: &'static str,
    known: &Known<'k>,
) -> Read<&'k Table> {
    let node = fields.need(word)?;
    let table = known.table(node)?;
    (known.tables.get(table)).map_or_else(|| flaw(start(node), "there is no such table"), Ok)
}

/// The members that the API knows.
fn request(
    fields: &mut Fields<'_, '_>,
    members: &[Members],
    table: &Table,
    lax: bool,
) -> Read<Map<String, Json>> {
    let mut body = Map::new();
    for (name, member) in members.iter().copied().flatten() {
        if matches!(member, Member::Item | Member::Key) && !lax {
            fields.need(name)?;
        }
        let Some(node) = fields.take(name) else {
            continue;
        };
        let value = match member {
            Member::Plain => value::literal(node)?,
            Member::Values => value::attributes(node)?,
            Member::Item | Member::Key => {
                let value = value::attributes(node)?;
                if !lax {
                    admit(node, table, &value, *member == Member::Key)?;
                }
                value
            }
            Member::Index => {
                let index = text(node)?;
                if !table.indexes.iter().any(|known| known == index) {
                    let indexes = table.indexes.iter().map(String::as_str);
                    let what = format!("table '{}' has no index", table.name);
                    return unknown(start(node), &what, index, indexes);
                }
                index.into()
            }
        };
        body.insert((*name).to_owned(), value);
    }
    Ok(body)
}

/// Whether an item has the table's key, or is one.
pub fn admit(node: &Node<'_>, table: &Table, value: &Json, key_only: bool) -> Read<()> {
    let item = value::item(&value::resolve(value, 0));
    let of_key: Vec<&str> = table.keys.names().collect();
    let place = |name: &str| {
        let written = node
            .get_ref()
            .as_table()
            .and_then(|t| t.get_key_value(name));
        written.map_or_else(|| start(node), |(key, _)| key.span().start)
    };
    if key_only && let Some(name) = item.keys().find(|name| !of_key.contains(&name.as_str())) {
        let what = format!("the key of table '{}' has no attribute", table.name);
        return unknown(place(name), &what, name, of_key);
    }
    for attribute in table.keys.attributes() {
        let (name, kind) = (&attribute.name, attribute.kind);
        let what = format!("the key of table '{}' needs '{name}'", table.name);
        match item.get(name) {
            Some(value) if kind.matches(value) => {}
            Some(value) => {
                let (kind, given) = (kind.name(), value.type_name());
                return flaw(place(name), format!("{what} of type {kind}, not {given}"));
            }
            None => {
                let given: Vec<&str> = item.keys().map(String::as_str).collect();
                let hint = format!("it has {}", given.join(", "));
                return flaw(start(node), format!("{what}\n  hint: {hint}"));
            }
        }
    }
    Ok(())
}

fn transaction(fields: &mut Fields<'_, '_>, known: &Known<'_>) -> Read<Ask> {
    let region = known.region(fields.need("region")?)?;
    let answer = answer(fields, Returns::Nothing)?;
    let lax = answer.error.as_deref() == Some(VALIDATION);
    let mut actions = Vec::new();
    let mut tables: Vec<&str> = Vec::new();
    for node in list(fields.need(TRANSACTION)?)? {
        let mut action = Fields::of(node, "an action")?;
        let words: Vec<&str> = ACTIONS.iter().map(|(word, ..)| *word).collect();
        let [word] = action.present(&words)[..] else {
            let reason = format!("an action is exactly one of {}", words.join(", "));
            return flaw(start(node), reason);
        };
        let table = named_table(&mut action, word, known)?;
        for (_, name, members) in ACTIONS.iter().filter(|(known, ..)| *known == word) {
            let mut body = request(&mut action, members, table, lax)?;
            body.insert("TableName".into(), table.name.as_str().into());
            actions.push(json!({*name: body}));
        }
        action.finish()?;
        if !tables.contains(&table.name.as_str()) {
            tables.push(&table.name);
        }
    }
    let mut body = json!({"TransactItems": actions});
    if let (Some(token), Some(body)) = (fields.text("ClientRequestToken")?, body.as_object_mut()) {
        body.insert("ClientRequestToken".into(), token.into());
    }
    Ok(Ask {
        region,
        operation: "TransactWriteItems",
        table: tables.join(" and "),
        body,
        answer,
    })
}

/// `expect_..`
fn answer(fields: &mut Fields<'_, '_>, returns: Returns) -> Read<Answer> {
    let mut answer = Answer::default();
    if let Some(node) = fields.take("expect_error") {
        let name = text(node)?;
        if !EXCEPTIONS.contains(&name) {
            return unknown(start(node), "there is no exception", name, EXCEPTIONS);
        }
        answer.error = Some(name.to_owned());
    }
    if returns == Returns::Nothing {
        answer.reasons = fields.plain("expect_reasons")?;
        return Ok(answer);
    }
    if let Some(node) = fields.take("expect_count") {
        let count: u64 = plain(node)?;
        if returns == Returns::Item && count > 1 {
            return flaw(start(node), "one item at most is in this answer");
        }
        answer.count = Some(count);
    }
    match returns {
        Returns::Page => {
            let items = fields.take("expect_items").map(list).transpose()?;
            let read = |items: &[Node<'_>]| items.iter().map(value::attributes).collect();
            answer.items = items.map(read).transpose()?;
        }
        _ => {
            answer.item = fields
                .take("expect_item")
                .map(value::attributes)
                .transpose()?
        }
    }
    Ok(answer)
}

fn operator(fields: &mut Fields<'_, '_>, word: &'static str, known: &Known<'_>) -> Read<Operator> {
    let node = fields.need(word)?;
    Ok(match word {
        "cut" => {
            let (a, b) = known.pair(node)?;
            match fields.plain("one_way")? {
                Some(true) => Operator::Cut(vec![(a, b)]),
                _ => Operator::Cut(vec![(a, b), (b, a)]),
            }
        }
        "isolate" => {
            let region = known.region(node)?;
            let others = (0..known.regions.len()).filter(|other| *other != region);
            Operator::Cut(others.flat_map(|o| [(region, o), (o, region)]).collect())
        }
        "heal" if node.get_ref().as_str() == Some("all") => Operator::Heal(None),
        "heal" => Operator::Heal(Some(known.pair(node)?)),
        "kill" => Operator::Kill(known.region(node)?),
        "restart" => Operator::Restart(known.region(node)?),
        "skew" => {
            let region = known.region(node)?;
            let by: Span = plain(fields.need("by")?)?;
            Operator::Skew {
                region,
                by_us: by.us,
            }
        }
        _ => {
            let (a, b) = known.pair(node)?;
            fields.need("rtt")?;
            let rtt_us = fields.span_us("rtt")?.unwrap_or(0);
            Operator::Slow { a, b, rtt_us }
        }
    })
}
