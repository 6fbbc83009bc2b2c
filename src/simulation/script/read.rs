//! From TOML to a script: what belongs together, and tables.

use serde_json::{Map, Value as Json, json};
use toml::de::{DeTable, DeValue};

use super::fields::{Fields, Node, Read, flaw, line_of, list, start, text, unknown};
use super::{Script, Table, expectations, order, steps};
use crate::item::{KeySchema, KeyType};
use crate::simulation::expect::{Expect, FIGURES};

/// What [`Script::end_us`] leaves after the last step.
const TAIL_US: u64 = 1_000_000;
const STREAM_VIEWS: [&str; 4] = ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"];

/// The parts of a file that make a script, and figures that are expected.
#[derive(Default)]
pub struct Sections<'t> {
    tables: Vec<Node<'t>>,
    steps: Vec<Node<'t>>,
    expects: Vec<Node<'t>>,
    pub figures: Expect,
}

/// What readers of steps and expectations know of the file.
pub struct Known<'k> {
    pub text: &'k str,
    pub regions: &'k [String],
    pub tables: &'k [Table],
}

impl<'t> Sections<'t> {
    /// Takes them out of a document.
    pub fn take(document: &mut DeTable<'t>) -> Read<Self> {
        let mut sections = Sections {
            tables: entries(document, "table")?,
            steps: entries(document, "step")?,
            ..Sections::default()
        };
        for node in entries(document, "expect")? {
            let table = node.get_ref().as_table();
            let figure = |name: &str| FIGURES.contains(&name);
            let of_figures = |table: &DeTable<'_>| table.keys().all(|k| figure(k.get_ref()));
            if table.is_some_and(of_figures) {
                sections.figures = sections.figures.with(super::fields::plain(&node)?);
            } else {
                sections.expects.push(node);
            }
        }
        Ok(sections)
    }

    /// Where its first line is; nothing where there is no script.
    pub fn at(&self) -> Option<usize> {
        let parts = [&self.tables, &self.steps, &self.expects];
        parts.into_iter().flatten().map(start).min()
    }

    /// Reads and checks them. `duration_us`: the scenario's, if it says one.
    pub fn script(&self, text: &str, regions: &[String], duration_us: Option<u64>) -> Read<Script> {
        let mut tables = Vec::new();
        for node in &self.tables {
            let table = table(node)?;
            if tables.iter().any(|t: &Table| t.name == table.name) {
                return flaw(
                    start(node),
                    format!("there are two tables '{}'", table.name),
                );
            }
            tables.push(table);
        }
        let known = Known {
            text,
            regions,
            tables: &tables,
        };
        let read = |node| steps::step(node, &known);
        let mut steps = self.steps.iter().map(read).collect::<Read<Vec<_>>>()?;
        let mut expectations = Vec::new();
        for node in &self.expects {
            expectations.extend(expectations::expectations(node, &known)?);
        }
        let last = (steps.iter().map(|(at, step)| (step.at_us, *at))).chain(
            expectations
                .iter()
                .filter_map(|(at, e)| Some((e.at_us?, *at))),
        );
        let last = last.max().unwrap_or_default();
        if let Some(end_us) = duration_us.filter(|end_us| last.0 > *end_us) {
            let reason = format!(
                "'at' is after the end of the scenario\n  hint: its duration is {} s",
                end_us / 1_000_000
            );
            return flaw(last.1, reason);
        }
        steps.sort_by_key(|(_, step)| step.at_us);
        order::check(&steps, regions, text)?;
        expectations.sort_by_key(|(_, e)| e.at_us.unwrap_or(u64::MAX));
        Ok(Script {
            regions: regions.to_vec(),
            steps: steps.into_iter().map(|(_, step)| step).collect(),
            expectations: expectations.into_iter().map(|(_, e)| e).collect(),
            end_us: duration_us.unwrap_or(last.0 + TAIL_US),
            tables,
        })
    }
}

/// The tables of an array of tables, or the one table of that name.
fn entries<'t>(document: &mut DeTable<'t>, name: &str) -> Read<Vec<Node<'t>>> {
    let Some(node) = document.remove(name) else {
        return Ok(Vec::new());
    };
    match node.get_ref() {
        DeValue::Table(_) => Ok(vec![node]),
        _ => Ok(list(&node)?.to_vec()),
    }
}

impl Known<'_> {
    pub fn line(&self, at: usize) -> usize {
        line_of(self.text, at)
    }

    pub fn region(&self, node: &Node<'_>) -> Read<usize> {
        let name = text(node)?;
        let at = self.regions.iter().position(|region| region == name);
        let regions = self.regions.iter().map(String::as_str);
        at.map_or_else(
            || unknown(start(node), "there is no region", name, regions),
            Ok,
        )
    }

    pub fn pair(&self, node: &Node<'_>) -> Read<(usize, usize)> {
        match list(node)? {
            [a, b] => {
                let (a, b) = (self.region(a)?, self.region(b)?);
                match a == b {
                    true => flaw(start(node), "a link needs two regions"),
                    false => Ok((a, b)),
                }
            }
            _ => flaw(start(node), "two regions are needed here"),
        }
    }

    pub fn table(&self, node: &Node<'_>) -> Read<usize> {
        let name = text(node)?;
        let at = self.tables.iter().position(|table| table.name == name);
        let tables = self.tables.iter().map(|table| table.name.as_str());
        at.map_or_else(
            || unknown(start(node), "there is no table", name, tables),
            Ok,
        )
    }
}

/// `[[table]]`
fn table(node: &Node<'_>) -> Read<Table> {
    let mut fields = Fields::of(node, "a table")?;
    let name = text(fields.need("name")?)?;
    let mut definitions = Map::new();
    let (keys, schema) = key(fields.need("key")?, &mut definitions)?;
    let mut create = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": schema,
    });
    let mut indexes = Vec::new();
    if let Some(node) = fields.take("index") {
        for node in list(node)? {
            let (name, member, body) = index(node, &mut definitions)?;
            indexes.push(name);
            match create.get_mut(member).and_then(Json::as_array_mut) {
                Some(list) => list.push(body),
                None => create[member] = json!([body]),
            }
        }
    }
    if let Some(node) = fields.take("stream") {
        let view = text(node)?;
        if !STREAM_VIEWS.contains(&view) {
            return unknown(start(node), "there is no stream view", view, STREAM_VIEWS);
        }
        create["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view});
    }
    let ttl = fields.text("ttl")?.map(str::to_owned);
    fields.finish()?;
    let definition =
        |(name, kind): (&String, &Json)| json!({"AttributeName": name, "AttributeType": kind});
    let definitions: Vec<Json> = definitions.iter().map(definition).collect();
    create["AttributeDefinitions"] = definitions.into();
    Ok(Table {
        name: name.to_owned(),
        keys,
        indexes,
        create,
        ttl,
    })
}

/// `key = ["player", "score:N"]`: a partition key, and a sort key if there is one, each a string unless it says
/// otherwise.
fn key(node: &Node<'_>, definitions: &mut Map<String, Json>) -> Read<(KeySchema, Json)> {
    let mut parts = Vec::new();
    for part in list(node)? {
        let (name, kind) = text(part)?.split_once(':').unwrap_or((text(part)?, "S"));
        let kind = match kind {
            "S" => KeyType::S,
            "N" => KeyType::N,
            "B" => KeyType::B,
            other => return unknown(start(part), "keys have no type", other, ["S", "N", "B"]),
        };
        let before = definitions.insert(name.to_owned(), kind.name().into());
        if before.is_some_and(|before| before != kind.name()) {
            return flaw(start(part), format!("'{name}' has another type above"));
        }
        parts.push((name, kind));
    }
    let (partition, sort) = match parts.as_slice() {
        [partition] => (*partition, None),
        [partition, sort] => (*partition, Some(*sort)),
        _ => return flaw(start(node), "a key has one attribute or two"),
    };
    let roles = ["HASH", "RANGE"];
    let schema = parts.iter().zip(roles);
    let schema = schema.map(|((name, _), role)| json!({"AttributeName": name, "KeyType": role}));
    let schema = schema.collect::<Vec<_>>().into();
    Ok((KeySchema::simple(partition, sort), schema))
}

/// `[[table.index]]`: its name, the member of CreateTable that it belongs to, and what it is.
fn index(
    node: &Node<'_>,
    definitions: &mut Map<String, Json>,
) -> Read<(String, &'static str, Json)> {
    let mut fields = Fields::of(node, "an index")?;
    let name = text(fields.need("name")?)?.to_owned();
    let (_, schema) = key(fields.need("key")?, definitions)?;
    let member = match fields.plain::<bool>("local")? {
        Some(true) => "LocalSecondaryIndexes",
        _ => "GlobalSecondaryIndexes",
    };
    let projection = match fields.take("projection") {
        None => json!({"ProjectionType": "ALL"}),
        Some(node) => match node.get_ref().as_str() {
            Some(kind @ ("ALL" | "KEYS_ONLY")) => json!({"ProjectionType": kind}),
            Some(other) => {
                return unknown(start(node), "no projection is", other, ["ALL", "KEYS_ONLY"]);
            }
            None => {
                let names: Vec<String> = super::fields::plain(node)?;
                json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": names})
            }
        },
    };
    fields.finish()?;
    let body = json!({"IndexName": name, "KeySchema": schema, "Projection": projection});
    Ok((name, member, body))
}
