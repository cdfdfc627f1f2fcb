//! Time of what `work/codec.rs` does:  cargo bench --bench codec

mod work;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for work in work::all().into_iter().filter(|work| work.name.starts_with("codec/")) {
        criterion.bench_function(work.name, |bencher| bencher.iter((work.set)()));
    }
    criterion.final_summary();
}
