//! The configuration as it was read (ap_conftree).

use crate::httpd::sys;
use std::ffi::CStr;

/// Calls `directive` for each directive of the configuration as it was read, with its name, arguments, and what was made of those
/// inside it (ap_conftree).
pub(crate) fn configuration_tree<T>(
    directive: &mut dyn FnMut(&CStr, &CStr, Option<Vec<T>>) -> T,
) -> Vec<T> {
    // SAFETY: the tree lives as long as the configuration, that is, as long as the child.
    unsafe { branch(sys::ap_conftree, directive) }
}

unsafe fn branch<T>(
    mut node: *const sys::ap_directive_t,
    directive: &mut dyn FnMut(&CStr, &CStr, Option<Vec<T>>) -> T,
) -> Vec<T> {
    let mut found = Vec::new();
    // SAFETY: the caller's tree is live; its links are NULL or live nodes.
    unsafe {
        while let Some(this) = node.as_ref() {
            let inside = (!this.first_child.is_null()).then(|| branch(this.first_child, directive));
            let (name, arguments) = (
                crate::httpd::text(this.directive),
                crate::httpd::text(this.args),
            );
            found.push(directive(
                name.unwrap_or_default(),
                arguments.unwrap_or_default(),
                inside,
            ));
            node = this.next;
        }
    }
    found
}
