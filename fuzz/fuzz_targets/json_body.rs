//! Requests, one a line: an operation, a blank, a body. Each is answered, and never with a 5xx.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_fuzz::Region;
use serde_json::Value;

/// More requests than this on one region find nothing that fewer do not.
const REQUESTS_MAX: usize = 8;

fuzz_target!(|data: &[u8]| {
    let region = Region::default();
    for line in data.split(|byte| *byte == b'\n').take(REQUESTS_MAX) {
        let blank = line.iter().position(|byte| *byte == b' ');
        let (operation, body) = match blank {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, b"".as_slice()),
        };
        let operation = String::from_utf8_lossy(operation);
        let (status, answer) = region.answer(&operation, body);
        let shown = || String::from_utf8_lossy(&answer).into_owned();
        assert!(status == 200 || status == 400, "{status}: {}", shown());
        if status == 200 && answer.is_empty() {
            continue;
        }
        let json: Value =
            serde_json::from_slice(&answer).unwrap_or_else(|e| panic!("{e}: {}", shown()));
        assert!(json.is_object(), "{}", shown());
        assert_eq!(json.get("__type").is_some(), status == 400, "{}", shown());
    }
});
