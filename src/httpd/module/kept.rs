//! What a module keeps of a configuration: structs in httpd's pools.
//!
//! Configuration lives in pools, never in statics: the DSO stays mapped over a restart (`-z nodelete`), so a
//! static would keep pointers into a configuration that is gone.

use crate::httpd::apr::pool::Pool;

/// What a module keeps of a configuration. The structs are `Copy` views into pools, so that a per-request merge
/// allocates once and nothing needs a destructor.
pub(crate) trait Module: Sized + 'static {
    type Server<'c>: Copy + Default;
    type Directory<'c>: Copy + Default;

    fn merge_server<'c>(
        pool: Pool<'c>,
        base: &Self::Server<'c>,
        over: &Self::Server<'c>,
    ) -> Self::Server<'c>;
    fn merge_directory<'c>(
        pool: Pool<'c>,
        base: &Self::Directory<'c>,
        over: &Self::Directory<'c>,
    ) -> Self::Directory<'c>;
    /// Does it say nothing? Then the other side stands for both. Asked for every section that a request lies in.
    fn is_blank(directory: &Self::Directory<'_>) -> bool;
    /// What stands for a configuration whose merge has failed: it must let nobody in.
    fn broken_directory<'c>(pool: Pool<'c>, over: &Self::Directory<'c>) -> Self::Directory<'c>;
}
