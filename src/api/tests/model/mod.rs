//! Data operations against an independent model: random tables and requests, each answer compared whole
//! with what a naive list of items says, written from DynamoDB's rules and sharing no code with ours.
//!
//! The order of Scan is the server's own affair, so the model asks for it, checks it against the rules and
//! expects every page to follow it.

mod condition;
mod many;
mod reads;
mod table;
mod update;
mod value;
mod writes;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Map, Value as Json, json};

use super::{TestBackend, call};
use reads::{Gets, Pages};
use table::{Index, Model, Schema, TABLE};
use value::{Item, item_json, normal};
use writes::{Many, Single};

const REPORTS: [&str; 3] = ["NONE", "TOTAL", "INDEXES"];

/// What the model expects of an answer.
#[derive(Clone, Debug)]
enum Want {
    Ok(Json),
    Error {
        kind: &'static str,
        /// One of them; a `*` stands for any rest.
        messages: Vec<String>,
        extra: Map<String, Json>,
    },
    /// TransactionCanceledException: the reasons without their messages where those may be one of several.
    Cancelled(Vec<Json>, Vec<Vec<String>>),
}

fn validation(messages: Vec<String>) -> Want {
    Want::Error {
        kind: "ValidationException",
        messages,
        extra: Map::new(),
    }
}

#[derive(Clone, Debug)]
enum Request {
    Single(Single),
    BatchWrite(Many),
    TransactWrite(Many),
    Get(Gets),
    BatchGet(Gets),
    TransactGet(Gets),
    Pages(Pages),
    Segments(Option<usize>, usize),
}

fn request() -> BoxedStrategy<Request> {
    prop_oneof![
        8 => writes::single().prop_map(Request::Single),
        3 => writes::batch().prop_map(Request::BatchWrite),
        2 => writes::transaction().prop_map(Request::TransactWrite),
        2 => reads::gets().prop_map(Request::Get),
        1 => reads::gets().prop_map(Request::BatchGet),
        1 => reads::gets().prop_map(Request::TransactGet),
        5 => reads::pages().prop_map(Request::Pages),
        1 => (prop::option::of(0usize..3), 1usize..6).prop_map(|(i, n)| Request::Segments(i, n)),
    ]
    .boxed()
}

struct World {
    backend: Arc<TestBackend>,
    model: Model,
    turn: usize,
}

type Checked = Result<(), TestCaseError>;

fn fail(operation: &str, request: &Json, got: &Json, want: &impl std::fmt::Debug) -> TestCaseError {
    TestCaseError::fail(format!(
        "{operation} {request}\n  got  {got}\n  want {want:?}"
    ))
}

fn said(messages: &[String], text: &str) -> bool {
    messages
        .iter()
        .any(|message| match message.split_once('*') {
            Some((start, _)) => text.starts_with(start),
            None => message == text,
        })
}

fn agrees((status, got): &(u16, Json), want: &Want) -> bool {
    let got = normal(got);
    let kind = got["__type"].as_str().unwrap_or_default();
    let text = got["message"]
        .as_str()
        .or(got["Message"].as_str())
        .unwrap_or_default();
    match want {
        Want::Ok(want) => *status == 200 && got == normal(want),
        Want::Error {
            kind: wanted,
            messages,
            extra,
        } => {
            let rest: Map<_, _> = got
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| !matches!(name.as_str(), "__type" | "message" | "Message"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            *status == 400
                && kind.ends_with(&format!("#{wanted}"))
                && said(messages, text)
                && Json::Object(rest) == normal(&Json::Object(extra.clone()))
        }
        Want::Cancelled(reasons, messages) => {
            let codes: Vec<_> = reasons.iter().filter_map(|r| r["Code"].as_str()).collect();
            let start =
                "Transaction cancelled, please refer cancellation reasons for specific reasons";
            let given = got["CancellationReasons"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let reason = |((given, want), messages): ((&Json, &Json), &Vec<String>)| {
                let mut given = given.clone();
                if !messages.is_empty() {
                    let members = given.as_object_mut().expect("a reason");
                    let message = members.remove("Message").unwrap_or_default();
                    if !said(messages, message.as_str().unwrap_or_default()) {
                        return false;
                    }
                }
                given == normal(want)
            };
            kind.ends_with("#TransactionCanceledException")
                && text == format!("{start} [{}]", codes.join(", "))
                && given.len() == reasons.len()
                && given.iter().zip(reasons).zip(messages).all(reason)
        }
    }
}

impl World {
    async fn new(schema: Schema) -> World {
        let backend = TestBackend::new();
        let (status, answer) = call(&backend, "CreateTable", schema.create()).await;
        assert_eq!(status, 200, "{answer}");
        World {
            backend,
            model: Model {
                schema,
                items: Vec::new(),
            },
            turn: 0,
        }
    }

    async fn expect(
        &self,
        operation: &str,
        request: Json,
        want: &Want,
    ) -> Result<Json, TestCaseError> {
        let got = call(&self.backend, operation, request.clone()).await;
        if agrees(&got, want) {
            Ok(got.1)
        } else {
            Err(fail(operation, &request, &got.1, want))
        }
    }

    async fn run(&mut self, request: &Request) -> Checked {
        self.turn += 1;
        match request {
            Request::Single(single) => {
                let json = single.request(&self.model);
                let want = single.want(&mut self.model);
                self.expect(single.operation(), json, &want).await?;
            }
            Request::BatchWrite(many) => {
                let json = many.batch(&self.model);
                let want = many.want_batch(&mut self.model);
                self.expect("BatchWriteItem", json, &want).await?;
            }
            Request::TransactWrite(many) => {
                let json = many.transaction(&self.model, self.turn);
                let (want, again) = many.want_transaction(&mut self.model);
                self.expect("TransactWriteItems", json.clone(), &want)
                    .await?;
                if let Some(again) = again.filter(|_| many.has_token()) {
                    self.expect("TransactWriteItems", json, &again).await?;
                }
            }
            Request::Get(gets) => {
                let want = gets.want_get(&self.model);
                self.expect("GetItem", gets.get(&self.model), &want).await?;
            }
            Request::BatchGet(gets) => {
                let want = gets.want_batch(&self.model);
                self.expect("BatchGetItem", gets.batch(&self.model), &want)
                    .await?;
            }
            Request::TransactGet(gets) => {
                let want = gets.want_transaction(&self.model);
                let json = gets.transaction(&self.model);
                self.expect("TransactGetItems", json, &want).await?;
            }
            Request::Pages(pages) => self.walk(pages).await?,
            Request::Segments(index, segments) => self.segments(*index, *segments).await?,
        }
        Ok(())
    }

    async fn walk(&self, pages: &Pages) -> Checked {
        let order = self.order(pages.index(&self.model)).await?;
        let wants = match pages.want(&self.model, &order) {
            Ok(wants) => wants,
            Err(want) => {
                let json = pages.request(&self.model, None);
                self.expect(pages.operation(), json, &want).await?;
                return Ok(());
            }
        };
        let mut start = Json::Null;
        for want in &wants {
            let mut json = pages.request(&self.model, None);
            json["ExclusiveStartKey"] = start;
            let answer = self.expect(pages.operation(), json, want).await?;
            start = answer["LastEvaluatedKey"].clone();
        }
        Ok(())
    }

    /// What an index (or the table) holds, in the order of Scan.
    async fn order(&self, index: Option<&Index>) -> Result<Vec<Item>, TestCaseError> {
        let mut json = json!({ "TableName": TABLE });
        if let Some(index) = index {
            json["IndexName"] = json!(index.name);
        }
        let (_, answer) = call(&self.backend, "Scan", json.clone()).await;
        let schema = &self.model.schema;
        let mut entries: Vec<Item> = match index {
            None => self.model.items.clone(),
            Some(index) => {
                let items = self.model.items.iter();
                items
                    .filter_map(|item| index.entry(&schema.keys, item))
                    .collect()
            }
        };
        let mut order = Vec::new();
        for item in answer["Items"].as_array().into_iter().flatten() {
            let place = entries
                .iter()
                .position(|e| normal(&item_json(e)) == normal(item));
            match place {
                Some(place) => order.push(entries.swap_remove(place)),
                None => return Err(fail("Scan", &json, &answer, &"no such item")),
            }
        }
        let keys = index.map_or(&schema.keys, |i| &i.keys);
        let mut partitions = Vec::new();
        let sorted = order.windows(2).all(|pair| {
            let [one, two] = pair else { return true };
            let hash = keys[0].name;
            if one[hash] != two[hash] {
                partitions.push(one[hash].clone());
                return !partitions.contains(&two[hash]);
            }
            keys.get(1).is_none_or(|sort| {
                one[sort.name]
                    .order(&two[sort.name])
                    .is_some_and(|o| o.is_le())
            })
        });
        if !sorted || !entries.is_empty() {
            return Err(fail("Scan", &json, &answer, &entries));
        }
        Ok(order)
    }

    /// The segments of a parallel Scan are, one after the other, the Scan.
    async fn segments(&self, index: Option<usize>, segments: usize) -> Checked {
        let index = self.model.schema.index(index);
        let order = self.order(index).await?;
        let mut seen = Vec::new();
        let mut json = json!({"TableName": TABLE, "TotalSegments": segments});
        if let Some(index) = index {
            json["IndexName"] = json!(index.name);
        }
        for segment in 0..segments {
            json["Segment"] = json!(segment);
            let (_, answer) = call(&self.backend, "Scan", json.clone()).await;
            seen.extend(answer["Items"].as_array().cloned().unwrap_or_default());
        }
        let want: Json = order.iter().map(item_json).collect();
        if normal(&json!(seen)) == normal(&want) {
            Ok(())
        } else {
            Err(fail("Scan", &json, &json!(seen), &want))
        }
    }
}

fn check(schema: Schema, requests: &[Request]) -> Checked {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(schema).await;
        for request in requests {
            world.run(request).await?;
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn answers_are_those_of_the_model(
        schema in table::schema(),
        requests in prop::collection::vec(request(), 1..40),
    ) {
        check(schema, &requests)?;
    }
}
