//! What of an item goes into the answer: projections and the fragments of `ReturnValues`
//! (expressions.md section 7, api.md section 2).

use crate::expression::{Path, project, touched_values};
use crate::item::{Item, json};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexDef, IndexKind, Projection as Projected, TableDef};

/// The parts of an item that a read returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Projection {
    #[default]
    All,
    Paths(Vec<Path>),
}

impl Projection {
    pub(crate) fn paths(&self) -> &[Path] {
        match self {
            Projection::All => &[],
            Projection::Paths(paths) => paths,
        }
    }

    /// The selected parts, re-assembled under their original structure.
    pub(crate) fn apply(&self, item: &Item) -> Item {
        match self {
            Projection::All => item.clone(),
            Projection::Paths(paths) => project(paths, item),
        }
    }

    /// Writes the selected parts as JSON.
    pub(crate) fn write(&self, item: &Item, out: &mut Vec<u8>) {
        match self {
            Projection::All => json::write_item(item, out),
            Projection::Paths(paths) => json::write_item(&project(paths, item), out),
        }
    }

    /// The attributes asked for that entries of `index` do not hold, in request order.
    pub(crate) fn missing_from(&self, table: &TableDef, index: &IndexDef) -> Vec<String> {
        let mut missing = Vec::new();
        for path in self.paths() {
            if !holds(table, index, &path.root) && !missing.contains(&path.root) {
                missing.push(path.root.clone());
            }
        }
        missing
    }
}

/// Whether entries of `index` hold `attribute`.
fn holds(table: &TableDef, index: &IndexDef, attribute: &str) -> bool {
    match &index.projection {
        Projected::All => true,
        Projected::Include(names) if names.iter().any(|n| n == attribute) => true,
        _ => table.keys.contains(attribute) || index.keys.contains(attribute),
    }
}

/// Key attributes are scalars: a path into one is refused before anything is read.
pub(crate) fn refuse_paths_into_keys<'p>(
    paths: impl IntoIterator<Item = &'p Path>,
    table: &TableDef,
) -> Result<(), ApiError> {
    for path in paths {
        if path.steps.is_empty() {
            continue;
        }
        let kind = if table.keys.contains(&path.root) {
            "Key"
        } else if table
            .indexes
            .iter()
            .any(|index| index.keys.contains(&path.root))
        {
            "IndexKey"
        } else {
            continue;
        };
        return Err(ApiError::validation(format!(
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: {kind}: {}",
            path.root
        )));
    }
    Ok(())
}

/// Attributes asked of a global index must be projected into it; a local index fetches the rest from
/// its table, which the return value says is needed.
pub(crate) fn needs_table(
    projection: &Projection,
    table: &TableDef,
    index: &IndexDef,
) -> Result<bool, ApiError> {
    let missing = projection.missing_from(table, index);
    if missing.is_empty() {
        return Ok(false);
    }
    match index.kind {
        IndexKind::Local => Ok(true),
        IndexKind::Global => Err(ApiError::validation(format!(
            "One or more parameter values were invalid: Global secondary index {} does not project [{}]",
            index.name,
            missing.join(", ")
        ))),
    }
}

/// The touched fragments of an image, for UPDATED_OLD and UPDATED_NEW; `None` when nothing is left.
pub(crate) fn touched_fragments(touched: &[Path], image: Option<&Item>) -> Option<Item> {
    let fragments = touched_values(touched, image?);
    (!fragments.is_empty()).then_some(fragments)
}
