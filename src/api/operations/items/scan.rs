//! Scan: all items of a table or index, in hash order, whole or in segments.

use serde_json::Value as Json;

use super::pages::{PageParams, PageRead, Reader};
use super::start_key;
use crate::api::params::{self, Styles, Wording};
use crate::api::projection::refuse_paths_into_keys;
use crate::api::{Backend, Constraints, Fields, fields};
use crate::expression::{ExpressionKind, legacy};
use crate::replica::catalog::{IndexDef, TableDef};
use crate::replica::request::PageRequest;
use crate::replica::{ApiError, read};

const TOTAL_SEGMENTS_MAX: i64 = 1_000_000;

struct ScanParams {
    page: PageParams,
    segment: Option<i64>,
    segments: Option<i64>,
    scan_filter: Option<Json>,
}

pub(crate) async fn run(backend: &dyn Backend, fields: Fields) -> Result<Vec<u8>, ApiError> {
    let request = take(fields).and_then(admit)?;
    params::snapshot(backend, move |txn| {
        let table = params::table(backend, txn, &request.request.table)?;
        let index = request.index(&table)?;
        bind(&request, &table, index)?;
        request.answer(backend, txn, &table, index)
    })
}

fn take(mut fields: Fields) -> Result<ScanParams, ApiError> {
    Ok(ScanParams {
        page: PageParams::take(&mut fields)?,
        segment: fields.integer("Segment")?,
        segments: fields.integer("TotalSegments")?,
        scan_filter: params::legacy_map(&mut fields, "ScanFilter", "Condition")?,
    })
}

fn check(given: &ScanParams, mut constraints: Constraints) -> Result<(), ApiError> {
    let page = &given.page;
    page.constrain(&mut constraints);
    constraints.range("totalSegments", given.segments, 1, TOTAL_SEGMENTS_MAX);
    params::constrain_operators(
        "scanFilter",
        given.scan_filter.as_ref(),
        true,
        &mut constraints,
    );
    constraints.range("segment", given.segment, 0, TOTAL_SEGMENTS_MAX - 1);
    constraints.range("limit", page.limit, 1, i64::MAX);
    constraints.finish()?;
    let styles = Styles {
        expressions: &[
            ("ProjectionExpression", page.projection.expression.is_some()),
            ("FilterExpression", page.filter.is_some()),
        ],
        legacy: &[
            ("AttributesToGet", page.projection.attributes.is_some()),
            ("ScanFilter", given.scan_filter.is_some()),
            ("ConditionalOperator", page.operator.is_some()),
        ],
    };
    styles.check(&page.substitutes, Wording::Bare)
}

fn admit(mut given: ScanParams) -> Result<PageRead, ApiError> {
    let mut constraints = Constraints::default();
    let table = fields::item_table_name(given.page.name.take(), &mut constraints)?;
    check(&given, constraints)?;
    let page = given.page;
    page.projection.refuse_duplicates()?;
    let legacy_filter = legacy::filter_to_condition(
        legacy::LegacyFilter::Scan,
        given.scan_filter.as_ref(),
        page.operator.as_deref(),
    )
    .map_err(params::legacy_error)?;
    let select = page.select();
    let limit = page.limit();
    page.admit_select(Reader::Scan)?;
    let start = page.start.map(start_key::admit_values).transpose()?;
    let segment = admit_segment(given.segment, given.segments)?;

    let mut placeholders = page.substitutes.placeholders(Wording::Bare)?;
    let filter = params::condition(
        ExpressionKind::Filter,
        page.filter.as_deref(),
        &mut placeholders,
        Wording::Bare,
    )?;
    let projection = page.projection.parse(&mut placeholders)?;
    placeholders.finish()?;
    let request = PageRequest {
        table,
        index: page.index,
        condition: None,
        filter: filter.or(legacy_filter),
        forward: true,
        limit,
        start,
        segment,
    };
    let report = params::report(page.report.as_deref());
    Ok(PageRead {
        request,
        select,
        projection,
        consistent: page.consistent,
        report,
    })
}

/// Segment and TotalSegments come together, and the segment is one of them.
fn admit_segment(
    segment: Option<i64>,
    segments: Option<i64>,
) -> Result<Option<(u32, u32)>, ApiError> {
    match (segment, segments) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ApiError::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is \
             present",
        )),
        (None, Some(_)) => Err(ApiError::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is \
             present",
        )),
        (Some(segment), Some(segments)) if segment >= segments => {
            Err(ApiError::validation(format!(
                "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} \
                 is not less than TotalSegments: {segments}"
            )))
        }
        // Both are in the range of the constraints.
        (Some(segment), Some(segments)) => Ok(u32::try_from(segment)
            .ok()
            .zip(u32::try_from(segments).ok())),
    }
}

/// Holds the start key and the projection against the keys of what is scanned.
fn bind(scan: &PageRead, table: &TableDef, index: Option<&IndexDef>) -> Result<(), ApiError> {
    if let Some(start) = &scan.request.start {
        let (keys, complaint) = match index {
            Some(index) => (Some(&index.keys), start_key::complaint()),
            None => (None, start_key::scan_complaint()),
        };
        start_key::admit_count(start, table, keys, &complaint)?;
        if let Some(keys) = keys {
            start_key::admit_attributes(start, keys.attributes())?;
        }
    }
    scan.admit_all_attributes(index)?;
    if let Some(start) = &scan.request.start {
        start_key::admit_table_key(start, table)?;
        read::admit_start(table, &scan.request)?;
    }
    refuse_paths_into_keys(scan.projection.paths(), table)?;
    let filtered = scan.request.filter.iter().flat_map(|filter| filter.paths());
    refuse_paths_into_keys(filtered, table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_in_pairs() {
        assert_eq!(admit_segment(None, None).expect("no segment"), None);
        assert_eq!(
            admit_segment(Some(0), Some(1)).expect("one segment"),
            Some((0, 1))
        );
        let complaint = |s, t| admit_segment(s, t).expect_err("refused").to_string();
        assert!(complaint(Some(0), None).starts_with("The TotalSegments parameter is required"));
        assert!(complaint(None, Some(4)).starts_with("The Segment parameter is required"));
        assert!(
            complaint(Some(5), Some(5)).ends_with("Segment: 5 is not less than TotalSegments: 5")
        );
    }
}
