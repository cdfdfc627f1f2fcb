//! Numbers out of many numbers.

/// The middle one; `None` of none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    percentile(values, 50.0)
}

/// The smallest value that `p` percent of all do not exceed (nearest rank); `None` of none.
pub fn percentile(values: &mut [f64], p: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (p / 100.0 * values.len() as f64).ceil().max(1.0) as usize;
    values.get(rank - 1).copied()
}

/// p50, p95 and p99 of durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

impl Spread {
    pub fn of_us(us: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut ms: Vec<f64> = us.into_iter().map(|us| us as f64 / 1000.0).collect();
        Some(Self {
            p50_ms: percentile(&mut ms, 50.0)?,
            p95_ms: percentile(&mut ms, 95.0)?,
            p99_ms: percentile(&mut ms, 99.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (p, want) in [(50.0, 50.0), (95.0, 95.0), (99.0, 99.0), (100.0, 100.0), (0.0, 1.0)] {
            assert_eq!(percentile(&mut hundred, p), Some(want), "{p}");
        }
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut []), None);
        assert_eq!(Spread::of_us([]), None);
        assert_eq!(Spread::of_us([1_500]), Some(Spread { p50_ms: 1.5, p95_ms: 1.5, p99_ms: 1.5 }));
    }
}
