//! The JSON body of an answer, written once and in order.

use crate::api::capacity::{Consumed, Report, write_string};
use crate::item::{Item, json};

/// A JSON object under construction. No tree is built: members are written as they come.
pub(crate) struct Body {
    out: Vec<u8>,
    empty: bool,
}

impl Body {
    pub(crate) fn new() -> Self {
        Body {
            out: vec![b'{'],
            empty: true,
        }
    }

    /// Begins the member `name`; the caller writes exactly one JSON value to what is returned.
    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        write_string(name, &mut self.out);
        self.out.push(b':');
        &mut self.out
    }

    pub(crate) fn item(&mut self, name: &str, item: &Item) {
        json::write_item(item, self.member(name));
    }

    pub(crate) fn count(&mut self, name: &str, count: usize) {
        let out = self.member(name);
        out.extend_from_slice(count.to_string().as_bytes());
    }

    /// The `ConsumedCapacity` of a request on one table, if asked for.
    pub(crate) fn capacity(&mut self, report: Report, consumed: &Consumed) {
        if report != Report::None {
            consumed.write(report, self.member("ConsumedCapacity"));
        }
    }

    /// The `ConsumedCapacity` list of a request on several tables, if asked for.
    pub(crate) fn capacities<'c>(
        &mut self,
        report: Report,
        consumed: impl IntoIterator<Item = &'c Consumed>,
    ) {
        if report != Report::None {
            let out = self.member("ConsumedCapacity");
            write_list(out, consumed, |out, consumed| consumed.write(report, out));
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// Writes a JSON list, one element at a time.
pub(crate) fn write_list<T>(
    out: &mut Vec<u8>,
    elements: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (position, element) in elements.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(out, element);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_lists_are_separated() {
        let mut body = Body::new();
        body.count("Count", 2);
        write_list(body.member("List"), [1, 2], |out, n| {
            out.extend_from_slice(n.to_string().as_bytes());
        });
        assert_eq!(body.finish(), b"{\"Count\":2,\"List\":[1,2]}");
        assert_eq!(Body::new().finish(), b"{}");
    }
}
