//! Runs each work of `work/` a fixed number of times between two marks, for callgrind to count between them:
//! scripts/instructions.sh. With an argument only the works whose names contain it.

mod work;

use std::hint::black_box;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for work in work::all().into_iter().filter(|work| work.name.contains(&only)) {
        let mut call = (work.set)();
        // What happens once (buffers that grow, lazy tables) is not counted.
        for _ in 0..2 {
            call();
        }
        println!("{} {}", work.name, work.calls);
        instructions_begin();
        for _ in 0..work.calls {
            call();
        }
        instructions_end();
    }
}

/// callgrind knows these by name, and begins and ends a profile there. Their addresses differ, so that none is the other.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn instructions_begin() {
    black_box(1);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn instructions_end() {
    black_box(2);
}
