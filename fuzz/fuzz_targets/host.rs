//! A host: the name alone, then the authority it may stand in.
#![no_main]

use interdict::hostname::Hostname;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(host) = Hostname::parse_bytes(bytes) {
        reads_back_as_itself(&host);
    }
    if let Ok((host, _)) = Hostname::parse_authority(bytes) {
        reads_back_as_itself(&host);
    }
});

/// What is printed is parsed to the same name, and every suffix is a name of its own.
fn reads_back_as_itself(host: &Hostname) {
    assert_eq!(Hostname::parse(host.as_str()).as_ref(), Ok(host));
    assert_eq!(Hostname::parse_authority(host.as_str().as_bytes()), Ok((host.clone(), None)));
    assert_eq!(host.suffixes().next(), Some(host.as_str()));
    assert!(host.as_str().len() <= 253);
}
