//! What somebody may have meant who typed a name that is not there.

/// More edits than this make another word of any name.
const MOST_EDITS: usize = 3;
/// A shorter word is part of too many names.
const SHORTEST_PART: usize = 3;

/// The candidate that `word` is probably a slip of; `None` when it is like none of them. Of several that are equally
/// near, the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let edits = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let edits = strsim::damerau_levenshtein(&word, &candidate);
        let longest = word.chars().count().max(candidate.chars().count());
        let is_part = word.chars().count() >= SHORTEST_PART && candidate.contains(&word);
        // A third of the letters: `usr` for `users`, but not `cat` for `dog`.
        let is_near = edits <= longest.div_ceil(3).min(MOST_EDITS);
        (is_near || is_part).then_some(edits)
    };
    let near = candidates.into_iter().filter_map(|candidate| Some((edits(candidate)?, candidate)));
    near.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let tables = ["users", "orders", "order_items", "Farmers"];
        for (word, meant) in [
            ("user", Some("users")),
            ("usres", Some("users")),
            ("USERS", Some("users")),
            ("usr", Some("users")),
            ("order", Some("orders")),
            ("items", Some("order_items")),
            ("framers", Some("Farmers")),
            ("cows", None),
            ("e", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, tables), meant, "{word}");
        }
        assert_eq!(nearest("ab", ["ac", "ad"]), Some("ac"), "the first of those that are as near");
        assert_eq!(nearest("cat", ["dog"]), None);
        assert_eq!(nearest("käse", ["käsee"]), Some("käsee"));
        assert_eq!(nearest("x", []), None);
    }
}
