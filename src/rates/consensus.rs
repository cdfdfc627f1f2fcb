//! From several voices to one value: outliers out, then the weighted median.

use rust_decimal::Decimal;

use super::figure::Figure;
use super::quote::Reason;

/// How much a value can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|c| c.as_str() == text)
    }
}

/// One provider's value.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    pub value: Figure,
    pub weight: u32,
    /// Epoch µs of it: of two equally heavy ones that disagree the newer counts.
    pub as_of_us: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Consensus {
    pub value: Figure,
    pub confidence: Confidence,
    /// For each voice, in their order: None, or why it was left out.
    pub rejected: Vec<Option<Reason>>,
}

/// `floor` is the relative distance below which nobody is an outlier. None: no voices.
pub fn consensus(voices: &[Voice], floor: Decimal) -> Option<Consensus> {
    let mut rejected = vec![None; voices.len()];
    match voices {
        [] => return None,
        [_] => {}
        [a, b] => {
            // Of the greater to the smaller, so that inverses are judged alike.
            let deviation = a.value.max(b.value).deviation(a.value.min(b.value));
            let allowed = floor * Decimal::TWO;
            if deviation > allowed {
                let lighter = usize::from((a.weight, a.as_of_us) >= (b.weight, b.as_of_us));
                rejected[lighter] = Some(Reason::Apart { deviation, allowed });
            }
        }
        many => {
            // Each source is one voice here: a heavy liar must not become the middle.
            let middle = weighted_median(many.iter().map(|v| (v.value, 1)).collect());
            let deviations: Vec<Decimal> = many.iter().map(|v| v.value.deviation(middle)).collect();
            let allowed = (median(deviations.clone()).min(Decimal::ONE_THOUSAND) * Decimal::new(88_956, 4)).max(floor);
            for (fate, deviation) in rejected.iter_mut().zip(deviations) {
                if deviation > allowed {
                    *fate = Some(Reason::Outlier { deviation, allowed });
                }
            }
        }
    }
    let kept = || voices.iter().zip(&rejected).filter(|(_, r)| r.is_none()).map(|(v, _)| v);
    let value = weighted_median(kept().map(|v| (v.value, v.weight)).collect());
    let agreeing = kept().filter(|v| v.value.max(value).deviation(v.value.min(value)) <= floor).count();
    let confidence = match agreeing {
        3.. => Confidence::High,
        2 => Confidence::Medium,
        _ => Confidence::Low,
    };
    Some(Consensus { value, confidence, rejected })
}

/// On an even tie the geometric middle, so that median(1/x) = 1/median(x). Not empty.
fn weighted_median(mut values: Vec<(Figure, u32)>) -> Figure {
    values.sort();
    let total: u64 = values.iter().map(|(_, w)| u64::from(*w)).sum();
    let mut below = 0;
    for (i, (value, weight)) in values.iter().enumerate() {
        below += u64::from(*weight);
        if below * 2 > total {
            return *value;
        }
        if below * 2 == total {
            return value.geometric_middle(values[i + 1].0);
        }
    }
    unreachable!("weights are positive, so the last value is past the half")
}

/// Of deviations, which may be 0: the arithmetic middle on an even tie. Not empty.
fn median(mut values: Vec<Decimal>) -> Decimal {
    values.sort();
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / Decimal::TWO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voices(spec: &str) -> Vec<Voice> {
        let voice = |(i, text): (usize, &str)| {
            let (value, weight) = text.split_once('x').unwrap_or((text, "1"));
            Voice {
                value: value.parse().expect("a figure"),
                weight: weight.parse().expect("a weight"),
                as_of_us: i as i64,
            }
        };
        spec.split(' ').enumerate().map(voice).collect()
    }

    // Floor 1 %; `-` stands for a voice that is rejected.
    #[test]
    fn outliers_go_and_the_median_stays() {
        use Confidence::*;
        for (spec, value, confidence, kept) in [
            ("100", "100", Low, "+"),
            // Two: within twice the floor both count, their middle is geometric.
            ("100 102", "100.9950493836207795336", Medium, "++"),
            ("100x2 102", "100", Low, "++"),
            ("100x2 102.01", "100", Low, "+-"),
            ("100 102.01x2", "102.01", Low, "-+"),
            ("100 102.01", "102.01", Low, "-+"), // equally heavy: the newer
            // Three and more: the median and its deviations judge.
            ("100 100.1 10", "100.04998750624609648", Medium, "++-"),
            ("100 100.1 100.2", "100.1", High, "+++"),
            ("100 100.1 100.2 1000x50", "100.1", High, "+++-"),
            ("100 100 100 101.01", "100", High, "+++-"),
            ("100 100 100 101", "100", High, "++++"),
            ("100x1 100.1x1 100.2x2", "100.1499875187211393793", High, "+++"),
            ("100x1 100.1x1 100.2x3", "100.2", High, "+++"),
            // A market that is torn: nobody is an outlier, but they do not agree either.
            ("100 100 150 150", "122.4744871391589049098642037", Low, "++++"),
            ("100 130 160", "130", Low, "+++"),
        ] {
            let voices = voices(spec);
            let found = consensus(&voices, Decimal::new(1, 2)).expect("voices");
            assert!(found.value.to_string().starts_with(value), "{spec}: {}", found.value);
            assert_eq!(found.confidence, confidence, "{spec}");
            let fates: String = found.rejected.iter().map(|r| if r.is_none() { '+' } else { '-' }).collect();
            assert_eq!(fates, kept, "{spec}");
        }
        assert_eq!(consensus(&[], Decimal::new(1, 2)), None);
    }

    #[test]
    fn the_consensus_of_inverses_is_the_inverse() {
        for spec in
            ["100 102", "100 100.1 100.2 100.3", "100x2 100.1 100.2 100.3", "100 102.02", "100 100.1 100.2 1000"]
        {
            let there = voices(spec);
            let back: Vec<Voice> = there.iter().map(|v| Voice { value: v.value.inverse(), ..*v }).collect();
            let floor = Decimal::new(1, 2);
            let (there, back) = (consensus(&there, floor).expect("some"), consensus(&back, floor).expect("some"));
            assert_eq!(there.value.inverse().to_significant(26), back.value.to_significant(26), "{spec}");
            assert_eq!(there.confidence, back.confidence, "{spec}");
        }
    }
}
