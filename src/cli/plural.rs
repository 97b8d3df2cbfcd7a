//! Numbers of things, in words.

/// `1 record`, `2 records`: `one` is the word for one of them, and its plural is regular.
pub(super) fn some(number: impl TryInto<u64>, one: &str) -> String {
    // What does not fit is surely more than one.
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::some;

    #[test]
    fn one_of_a_kind_is_told_in_the_singular() {
        assert_eq!(
            [some(0_u64, "case"), some(1_u32, "case"), some(2_usize, "host pattern")],
            ["0 cases", "1 case", "2 host patterns"]
        );
    }
}
