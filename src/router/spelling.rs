//! A key has one spelling, the one that its changes come under: `order:042` is not `order:42`.

/// Is this what Postgres would write, for sure? Else it must be asked.
pub fn as_written(kind: &str, value: &str) -> bool {
    match kind {
        "text" | "character varying" => true,
        "bigint" => integer(value, 18),
        "integer" => integer(value, 9),
        "smallint" => integer(value, 4),
        "uuid" => uuid(value),
        _ => false,
    }
}

fn integer(value: &str, digits_max: usize) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let plain = !digits.is_empty() && digits.len() <= digits_max && digits.bytes().all(|b| b.is_ascii_digit());
    plain && (value == "0" || !digits.starts_with('0'))
}

fn uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(n, b)| match n {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_is_certain() {
        for (kind, value, certain) in [
            ("bigint", "0", true),
            ("bigint", "42", true),
            ("bigint", "-42", true),
            ("bigint", "042", false),
            ("bigint", "-0", false),
            ("bigint", "+42", false),
            ("bigint", "", false),
            ("bigint", "-", false),
            ("bigint", " 42", false),
            ("bigint", "999999999999999999", true),
            ("bigint", "9999999999999999999", false),
            ("integer", "9999999999", false),
            ("smallint", "40000", false),
            ("text", "042", true),
            ("uuid", "6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de", true),
            ("uuid", "6F1C9A52-3f0e-4a39-9d0b-0c9a54a0b7de", false),
            ("uuid", "6f1c9a523f0e4a399d0b0c9a54a0b7de", false),
            ("date", "2026-01-01", false),
        ] {
            assert_eq!(as_written(kind, value), certain, "{kind} {value:?}");
        }
    }
}
