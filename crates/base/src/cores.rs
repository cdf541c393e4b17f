//! How many of the machine's cores something may have.

/// Half of the cores that this process may use, and one at least.
pub fn half_of_cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}
