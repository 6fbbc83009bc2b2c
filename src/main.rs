//! The `meridian` binary: everything is in the library.

/// Regions and simulated worlds allocate much that is small and lives shortly, on a few threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    meridian::cli::run()
}
