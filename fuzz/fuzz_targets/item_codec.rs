//! Stored items: any bytes are refused or are the one encoding of an item; any item comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::item::{codec, json, size};

fuzz_target!(|data: &[u8]| {
    let decoded = codec::decode(data);
    let mut text = Vec::new();
    let written = codec::write_json(data, &mut text);
    let _ = codec::item_size(data);
    if let Ok(item) = &decoded {
        assert_eq!(
            codec::encode(item),
            data,
            "there is one encoding of an item"
        );
        assert_eq!(codec::item_size(data).ok(), Some(size::item_size(item)));
        assert!(written.is_ok());
        let mut expected = Vec::new();
        json::write_item(item, &mut expected);
        assert_eq!(text, expected, "both ways to JSON agree");
    }
    // The same bytes as what a client sends.
    if let Ok(value) = serde_json::from_slice(data)
        && let Ok(item) = json::item_from_json(value)
    {
        let bytes = codec::encode(&item);
        assert_eq!(codec::decode(&bytes).as_ref(), Ok(&item));
        assert_eq!(codec::item_size(&bytes).ok(), Some(size::item_size(&item)));
        let mut text = Vec::new();
        json::write_item(&item, &mut text);
        let again = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(json::item_from_json(again).as_ref(), Ok(&item));
    }
});
