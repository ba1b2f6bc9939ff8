//! One call a partition: over the threads of the pool, or one after the other where the caller is not one of them.

use rayon::prelude::*;

/// The results in the order of partitions, or the failure of the lowest one that failed.
pub(super) fn each<T: Send, E: Send>(
    partitions: usize,
    run: impl Fn(usize) -> Result<T, E> + Sync + Send,
) -> Result<Vec<T>, E> {
    if rayon::current_thread_index().is_none() {
        return (0..partitions).map(run).collect();
    }
    let results: Vec<Result<T, E>> = (0..partitions).into_par_iter().with_max_len(1).map(run).collect();
    results.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_failures_are_the_same_on_one_thread_and_on_many() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let check = |failing: &[usize], expected: Result<Vec<usize>, usize>| {
            let run = |idx| if failing.contains(&idx) { Err(idx) } else { Ok(idx * 2) };
            assert_eq!(each(4, run), expected, "{failing:?} on the caller's thread");
            assert_eq!(pool.install(|| each(4, run)), expected, "{failing:?} in the pool");
        };
        check(&[], Ok(vec![0, 2, 4, 6]));
        check(&[3, 1], Err(1));
    }
}
