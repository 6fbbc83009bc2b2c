//! Items and tables in few words.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType, TableStatus,
};

use super::wait_for;

pub type Item = HashMap<String, AttributeValue>;

pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.map(|(k, v)| (k.to_owned(), v)).into()
}

/// A string attribute, or nothing.
pub fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    match item.get(name) {
        Some(AttributeValue::S(text)) => text,
        _ => "",
    }
}

/// A number attribute.
#[track_caller]
pub fn number(item: &Item, name: &str) -> i64 {
    match item.get(name) {
        Some(AttributeValue::N(number)) => number.parse().expect("an integer"),
        other => panic!("'{name}' is {other:?} in {item:?}"),
    }
}

/// The error's code, such as `ValidationException`; empty for what is no answer of a region.
pub fn code<E: ProvideErrorMetadata>(error: &E) -> &str {
    error.code().unwrap_or_default()
}

pub fn message<E: ProvideErrorMetadata>(error: &E) -> &str {
    error.message().unwrap_or_default()
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    let element = KeySchemaElement::builder().attribute_name(name);
    element.key_type(kind).build().expect("complete")
}

fn schema(partition: &str, sort: Option<&str>) -> Vec<KeySchemaElement> {
    let mut schema = vec![key(partition, KeyType::Hash)];
    schema.extend(sort.map(|sort| key(sort, KeyType::Range)));
    schema
}

/// The attribute's name of `pk:S`, and its definition.
fn attribute(spec: &str) -> (&str, AttributeDefinition) {
    let (name, kind) = spec.split_once(':').expect("name:type");
    let definition = AttributeDefinition::builder().attribute_name(name);
    let definition = definition.attribute_type(ScalarAttributeType::from(kind));
    (name, definition.build().expect("complete"))
}

/// Creates a table, and waits until every client's region serves it.
///
/// Keys are written `pk:S`; an index is (name, partition, sort) and projects all.
pub async fn create(
    clients: &[Client],
    name: &str,
    partition: &str,
    sort: Option<&str>,
    index: Option<(&str, &str, Option<&str>)>,
) {
    let mut definitions = BTreeMap::new();
    let index_parts = index.iter().flat_map(|(_, p, s)| [Some(*p), *s]);
    for spec in [Some(partition), sort]
        .into_iter()
        .chain(index_parts)
        .flatten()
    {
        let (name, definition) = attribute(spec);
        definitions.insert(name.to_owned(), definition);
    }
    let plain = |spec| attribute(spec).0;
    let mut request = clients[0]
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(schema(plain(partition), sort.map(plain))))
        .set_attribute_definitions(Some(definitions.into_values().collect()));
    if let Some((index, partition, sort)) = index {
        let all = Projection::builder().projection_type(ProjectionType::All);
        let index = GlobalSecondaryIndex::builder()
            .index_name(index)
            .set_key_schema(Some(schema(plain(partition), sort.map(plain))))
            .projection(all.build());
        request = request.global_secondary_indexes(index.build().expect("complete"));
    }
    request.send().await.expect("the table is created");
    for client in clients {
        wait_for("the table is active in every region", async || {
            let described = client.describe_table().table_name(name).send().await;
            let table = described.map_err(|error| format!("{error:?}"))?.table;
            match table.as_ref().and_then(|t| t.table_status()) {
                Some(TableStatus::Active) => Ok(()),
                _ => Err(format!("{table:?}")),
            }
        })
        .await;
    }
}

pub async fn put(client: &Client, table: &str, item: Item) {
    let put = client.put_item().table_name(table).set_item(Some(item));
    put.send().await.expect("the item is put");
}

pub async fn get(client: &Client, table: &str, key: Item) -> Option<Item> {
    let get = client.get_item().table_name(table).set_key(Some(key));
    get.send().await.expect("the item is read").item
}

/// Every item of a table, page by page.
pub async fn scan_all(client: &Client, table: &str) -> Vec<Item> {
    let pages = client.scan().table_name(table).into_paginator();
    let items = pages.items().send().collect::<Result<Vec<_>, _>>();
    items.await.expect("the table is scanned")
}

/// Every item of an index (or table) partition `name = value`, page by page.
pub async fn query_all(
    client: &Client,
    table: &str,
    index: Option<&str>,
    name: &str,
    value: AttributeValue,
) -> Vec<Item> {
    let query = client
        .query()
        .table_name(table)
        .set_index_name(index.map(str::to_owned))
        .key_condition_expression("#name = :value")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":value", value);
    let items = query.into_paginator().items().send();
    let items = items.collect::<Result<Vec<_>, _>>().await;
    items.expect("the partition is queried")
}
