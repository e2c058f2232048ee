//! How a list of an inner section covers an outer one.

use crate::httpd::apr::pool::Pool;

/// Joins the inner items with the outer ones that are not the `same` as an inner one. Copies nothing where one side is empty.
pub(crate) fn cover<'c, T: Copy>(
    pool: Pool<'c>,
    base: &'c [T],
    over: &'c [T],
    same: impl Fn(&T, &T) -> bool,
) -> &'c [T] {
    if over.is_empty() {
        return base;
    }
    if base.is_empty() {
        return over;
    }
    let kept: Vec<T> = base
        .iter()
        .filter(|outer| !over.iter().any(|inner| same(outer, inner)))
        .copied()
        .collect();
    pool.concat(&kept, over)
}
