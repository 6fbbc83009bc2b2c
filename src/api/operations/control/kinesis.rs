//! Kinesis destinations as they are recorded (streams-ttl-backup.md section 7): nothing is delivered.

use serde_json::{Value, json};

use super::super::tables::local;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error, fields};
use crate::replica::ApiError;
use crate::replica::catalog::{LocalSettings, TableDef};

const ARN_MIN: usize = 37;
const ARN_MAX: usize = 1024;
const PRECISIONS: &[&str] = &["MICROSECOND", "MILLISECOND"];
const PRECISION: &str = "ApproximateCreationDateTimePrecision";
const INVALID_STATE: &str =
    "Table is not in a valid state to enable Kinesis Streaming Destination:";

/// A request to enable, disable or change a destination.
pub(super) struct Request {
    pub(super) table: String,
    pub(super) stream: String,
    /// Whether a configuration was sent, and its precision.
    pub(super) configured: bool,
    pub(super) precision: Option<String>,
}

impl Request {
    /// Reads a request whose configuration is `member`.
    pub(super) fn take(mut fields: Fields, member: &str) -> Result<Self, ApiError> {
        let table = fields.string("TableName")?;
        let stream = fields.string("StreamArn")?;
        let mut configured = fields.structure(member, member)?;
        let precision = match &mut configured {
            Some(given) => given.string(PRECISION)?,
            None => None,
        };
        let table = fields::table_name(table)?;
        let mut c = Constraints::default();
        c.required("streamArn", stream.as_ref());
        if let Some(stream) = &stream {
            c.length("streamArn", stream, ARN_MIN, ARN_MAX);
        }
        let lower = member
            .chars()
            .next()
            .map_or('?', |c| c.to_ascii_lowercase());
        let path = format!(
            "{lower}{}.approximateCreationDateTimePrecision",
            member.get(1..).unwrap_or_default()
        );
        c.one_of(&path, precision.as_deref(), PRECISIONS);
        c.finish()?;
        Ok(Request {
            table,
            stream: stream.unwrap_or_default(),
            configured: configured.is_some(),
            precision,
        })
    }

    /// The answer: the status while the change is under way, on AWS.
    fn answer(&self, status: &str, configuration: Option<(&'static str, Value)>) -> Vec<u8> {
        let members = [
            ("TableName", json!(self.table)),
            ("StreamArn", json!(self.stream)),
            ("DestinationStatus", json!(status)),
        ];
        error::object(members.into_iter().chain(configuration))
    }
}

/// The destinations of a table, in the order in which they were first enabled.
pub(super) fn destinations(settings: &LocalSettings) -> Vec<Value> {
    let kept = local::get(settings, local::KINESIS);
    kept.and_then(|v| v.as_array().cloned()).unwrap_or_default()
}

fn is(destination: &Value, member: &str, text: &str) -> bool {
    destination.get(member).and_then(Value::as_str) == Some(text)
}

fn active(destination: &Value) -> bool {
    is(destination, "DestinationStatus", "ACTIVE")
}

fn store(settings: &mut LocalSettings, stream: &str, status: &str, precision: &str) {
    let mut all = destinations(settings);
    let entry = json!({"StreamArn": stream, "DestinationStatus": status, PRECISION: precision});
    match all.iter_mut().find(|d| is(d, "StreamArn", stream)) {
        Some(kept) => *kept = entry,
        None => all.push(entry),
    }
    local::set(settings, local::KINESIS, &Value::from(all));
}

fn wrong_state(text: &str) -> ApiError {
    ApiError::validation(format!("{INVALID_STATE} {text}"))
}

fn precision_of(destination: Option<&Value>) -> String {
    let kept = destination
        .and_then(|d| d.get(PRECISION))
        .and_then(Value::as_str);
    kept.unwrap_or("MILLISECOND").to_owned()
}

async fn change(
    backend: &dyn Backend,
    request: &Request,
    edit: impl Fn(&TableDef, &mut LocalSettings) -> Result<String, ApiError>,
) -> Result<String, ApiError> {
    local::change(backend, || local::find(backend, &request.table), edit).await
}

/// Enables a destination: at most one of a table is active.
pub(super) async fn enable(backend: &dyn Backend, request: &Request) -> Answer {
    let precision = change(backend, request, |_, settings| {
        if destinations(settings).iter().any(active) {
            return Err(wrong_state(
                "EnableKinesisStreamingDestination must be DISABLED or ENABLE_FAILED to perform ENABLE operation.",
            ));
        }
        let precision = request.precision.clone().unwrap_or_else(|| precision_of(None));
        store(settings, &request.stream, "ACTIVE", &precision);
        Ok(precision)
    })
    .await?;
    let echoed = request.configured.then(|| {
        (
            "EnableKinesisStreamingConfiguration",
            json!({PRECISION: precision}),
        )
    });
    Ok(request.answer("ENABLING", echoed))
}

/// Disables a destination; it stays listed.
pub(super) async fn disable(backend: &dyn Backend, request: &Request) -> Answer {
    if request.precision.is_some() {
        return Err(ApiError::validation(
            "Stream cannot be disabled using EnableKinesisStreamingConfiguration parameters",
        ));
    }
    change(backend, request, |_, settings| {
        let all = destinations(settings);
        let kept = all.iter().find(|d| is(d, "StreamArn", &request.stream));
        if !kept.is_some_and(active) {
            return Err(wrong_state(
                "KinesisStreamingDestination must be ACTIVE to perform DISABLE operation.",
            ));
        }
        let precision = precision_of(kept);
        store(settings, &request.stream, "DISABLED", &precision);
        Ok(precision)
    })
    .await?;
    Ok(request.answer("DISABLING", None))
}

/// Changes the precision of an active destination.
pub(super) async fn update(backend: &dyn Backend, request: &Request) -> Answer {
    let Some(precision) = &request.precision else {
        return Err(ApiError::validation(
            "Streaming destination cannot be updated with given parameters: \
             UpdateKinesisStreamingConfiguration cannot be null or contain only null values",
        ));
    };
    let id = |def: &TableDef| super::super::tables::description::table_id(backend.region(), def);
    change(backend, request, |def, settings| {
        let all = destinations(settings);
        let kept = all.iter().find(|d| is(d, "StreamArn", &request.stream));
        if !kept.is_some_and(active) {
            return Err(wrong_state(&format!(
                "Kinesis streaming is not in ACTIVE state. Updates are only allowed in ACTIVE state. \
                 TableName: {}, kdsArn: {}",
                request.table, request.stream
            )));
        }
        if precision_of(kept) == *precision {
            return Err(ApiError::validation(format!(
                "Invalid Request: Precision is already set to the desired value of {precision} for tableId: {}, kdsArn: {}",
                id(def),
                request.stream
            )));
        }
        store(settings, &request.stream, "ACTIVE", precision);
        Ok(precision.clone())
    })
    .await?;
    let echoed = (
        "UpdateKinesisStreamingConfiguration",
        json!({PRECISION: precision}),
    );
    Ok(request.answer("UPDATING", Some(echoed)))
}
