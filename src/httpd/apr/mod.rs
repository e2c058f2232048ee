//! APR: memory, tables, buckets, locks of all processes; and httpd's regular expressions (ap_regex.h).

pub(in crate::httpd) mod brigade;
pub(crate) mod key_locks;
pub(crate) mod mutex;
pub(crate) mod pattern;
pub(crate) mod pool;
pub(crate) mod table;
