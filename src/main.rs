/// Gives back what bursts and resumes left free, and packs what idle connections hold.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    rowcast::cli::main()
}
