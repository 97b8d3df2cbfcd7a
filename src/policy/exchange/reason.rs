//! Why something was not taken from a list, and why something was left out of one.

use serde::Serialize;

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $name {
            $(#[doc = $text] #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in a report.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What it means, in one sentence without a full stop.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    /// Why an entry of a list was not taken.
    Reason {
        NoName = "no-name", "what stands in the place of a name is none";
        Glued = "glued", "an address and a name are written together, and only a guess would part them";
        Local = "local", "a name of the machine itself or of its network";
        AddressAsName = "address-as-name", "an address in the place of a name, which is never asked for as one";
        OtherAddress = "other-address", "the name is led to an address, not to nowhere";
        NoAddress = "no-address", "the line does not begin with an address";
        Options = "options", "a rule with options holds for some requests only";
        Cosmetic = "cosmetic", "a rule about parts of a page";
        Regex = "regex", "a regular expression";
        Path = "path", "a rule about a path, not a whole host";
        Scheme = "scheme", "a rule about one scheme or one address";
        Unanchored = "unanchored", "a rule that also matches longer names, or other parts of an address";
        Wildcard = "wildcard", "a `*` in a place where no pattern of ours has one";
        Conditional = "conditional", "a rule between `!#if` and `!#endif`";
        Include = "include", "another file, which was not read";
        OtherSetting = "other-setting", "a setting that blocks no name";
        Resolver = "resolver", "the name is asked of another name server";
        Everything = "everything", "every name there is";
        Unqualified = "unqualified", "names without a dot, whichever they are";
        OtherTrigger = "other-trigger", "a rule about addresses, clients or name servers";
        OtherAction = "other-action", "the name is answered over TCP only";
        LocalData = "local-data", "the name gets an answer of the zone's own";
        OutsideZone = "outside-zone", "the name is not in the zone, or nothing says which zone this is";
        Malformed = "malformed", "the line is not of this format";
        TooLong = "too-long", "the line is too long";
        TooMany = "too-many", "the policy set could not hold more names";
        SwitchedOff = "switched-off", "it switches another rule of the list off";
        PartException = "part-exception", "an exception for some requests only, which no case can express: what it is about is blocked whole";
        Exception = "exception", "an exception, which a list cannot hold: write it into `except` of the case";
        ExceptionAround = "exception-around", "an exception with blocked names inside it, which no case can express";
        Excepted = "excepted", "an exception of the list takes the whole of it away";
    }
}

reasons! {
    /// Why something of the effective list is not in an export. What is left out is blocked here and not by the export;
    /// nothing is blocked by the export and not here.
    Omission {
        Subtree = "subtree", "the format cannot say: this name and all below it";
        Exact = "exact", "the format cannot say: this name and none below it";
        Below = "below", "the format cannot say: all below this name, not the name itself";
        Address = "address", "the format has no place for an address as a host";
        TooLong = "too-long", "the name would not fit into a zone";
        Reserved = "reserved", "the name would be no name but a trigger in a zone";
        Exception = "exception", "an `except` of its case takes a part of it away";
        Shadowed = "shadowed", "a more specific case in shadow mode lets a part of it through";
        Territory = "territory", "its case holds for clients in some networks only";
        Edges = "edges", "its case is carried out on some edges only: `--config` says of which one the list is to be";
        Exemption = "exemption", "its case lets some clients through";
        Origins = "origins", "a network to which no connection is opened, whatever the name";
    }
}
