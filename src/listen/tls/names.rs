//! Which names a certificate is for.

use rustls::pki_types::CertificateDer;

use crate::hostname::Hostname;

/// What a certificate may be chosen by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// This name.
    Exact(Hostname),
    /// Each name one label below this one (RFC 6125 §6.4.3).
    Below(Hostname),
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.").or_else(|| text.strip_prefix("_.")) {
            Some(parent) => Hostname::parse(parent).ok().map(Self::Below),
            None => Hostname::parse(text).ok().map(Self::Exact),
        }
    }
}

/// The name that a pair of files is named after, `www.a.example`, `*.a.example` or `_.a.example`, and the names in the
/// certificate's subject alternative names (RFC 5280 §4.2.1.6).
pub(super) fn names(stem: &str, certificate: &CertificateDer<'_>) -> Vec<Name> {
    let mut names: Vec<Name> = Name::parse(stem).into_iter().collect();
    if let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) {
        for name in certificate.valid_dns_names().filter_map(Name::parse) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn a_file_name_and_the_alternative_names_both_count() {
        let key = rcgen::KeyPair::generate().unwrap();
        let sans = vec!["b.example".to_owned(), "*.C.example".to_owned(), "a.example".to_owned()];
        let certificate = rcgen::CertificateParams::new(sans).unwrap().self_signed(&key).unwrap();
        let found = names("a.example", certificate.der());
        let exact = |text| Name::Exact(host(text));
        assert_eq!(found, [exact("a.example"), exact("b.example"), Name::Below(host("c.example"))]);
        assert_eq!(names("site 1", certificate.der()).len(), 3);
        assert_eq!(names("_.d.example", certificate.der())[0], Name::Below(host("d.example")));
        assert_eq!(names("*.d.example", certificate.der())[0], Name::Below(host("d.example")));
        assert!(names("x.example", &CertificateDer::from(vec![1, 2, 3])).len() == 1, "no certificate at all");
    }
}
