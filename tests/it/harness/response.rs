//! An answer, whichever protocol brought it.

/// A whole response.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// HTTP/2: whether the header block ended the stream.
    pub head_ends: bool,
    /// The status code.
    pub status: u16,
    /// The fields in the order they came, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The content, with transfer coding removed.
    pub body: Vec<u8>,
    /// HTTP/2: the fields after the content.
    pub trailers: Vec<(String, String)>,
    /// Interim statuses (100, 103) that came before.
    pub interim: Vec<u16>,
    /// The fields of those, in the order they came.
    pub interim_fields: Vec<(String, String)>,
}

impl Response {
    /// The value of a field, or nothing when it is absent; fails when it is there twice.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found =
            self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "the field {name} is there twice: {:?}", self.fields);
        first
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The content as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The id of the record behind a block, when this is one.
    pub fn enforcement_id(&self) -> Option<&str> {
        self.field("enforcement-id")
    }

    /// Fails unless this is a block page with `status`.
    #[track_caller]
    pub fn assert_blocked(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.fields, self.text());
        assert!(self.enforcement_id().is_some(), "no enforcement-id in {:?}", self.fields);
        self
    }

    /// Fails unless this came from an origin.
    #[track_caller]
    pub fn assert_forwarded(&self) -> &Self {
        assert_eq!(self.status, 200, "{:?}\n{}", self.fields, self.text());
        assert!(self.field("origin").is_some(), "not from an origin: {:?}", self.fields);
        assert_eq!(self.enforcement_id(), None);
        self
    }
}
