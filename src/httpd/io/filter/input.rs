//! How httpd calls a Python input filter.

use super::invocation::{Fetch, Invocation, new_brigade};
use super::names;
use super::own::{BROKEN, Handler, Verdict, name_of, own};
use crate::httpd::apr::brigade::{concat, has_eos, is_empty};
use crate::httpd::callback::summon;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::status::Status;
use crate::httpd::sys;

pub(super) unsafe extern "C" fn input<F: Handler>(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
    mode: sys::ap_input_mode_t,
    block: sys::apr_read_type_e,
    wanted: sys::apr_off_t,
) -> sys::apr_status_t {
    // SAFETY: as in `output`.
    unsafe {
        let reads = [
            sys::ap_input_mode_t_AP_MODE_READBYTES,
            sys::ap_input_mode_t_AP_MODE_GETLINE,
            sys::ap_input_mode_t_AP_MODE_EXHAUSTIVE,
        ];
        let known = own(filter);
        if let Some((own, _)) = &known
            && let Verdict::Failed(Status(number)) = own.verdict
        {
            return BROKEN + number;
        }
        let running =
            known.filter(|(own, _)| own.verdict == Verdict::Kept && reads.contains(&mode));
        let Some((own, request)) = running else {
            return sys::ap_get_brigade((*filter).next, brigade, mode, block, wanted);
        };
        let source = new_brigade(filter);
        let fetch = Fetch::new(mode, block, wanted);
        let mut invocation = Invocation::new(filter, source, brigade, Some(fetch));
        let verdict = guard("filter", || {
            match name_of(filter, own, request, names::MOST) {
                Some(name) => summon::<F>()(request, name, true, &mut invocation),
                None => Verdict::BROKEN,
            }
        });
        let verdict = verdict.unwrap_or_else(|place| {
            log::entry(request, Level::Critical, &place);
            Verdict::BROKEN
        });
        let (status, ends, touched) = (invocation.status(), has_eos(source), invocation.touched());
        own.verdict = verdict;
        if let Verdict::Failed(Status(number)) = verdict {
            sys::apr_brigade_destroy(source);
            sys::apr_brigade_cleanup(brigade.cast());
            return if status == 0 { BROKEN + number } else { status };
        }
        if verdict == Verdict::Kept && ends && !invocation.closed {
            invocation.end();
        } else if verdict == Verdict::Kept && !touched && status == 0 {
            let text = "a Python input filter neither reads nor writes nor closes; it is left out of this request";
            log::entry(request, Level::Error, text);
            own.verdict = Verdict::LeftOut;
        }
        let left_out = own.verdict == Verdict::LeftOut;
        if left_out {
            concat(brigade, source);
        }
        sys::apr_brigade_destroy(source);
        if left_out && is_empty(brigade) && status == 0 {
            return sys::ap_get_brigade((*filter).next, brigade, mode, block, wanted);
        }
        status
    }
}
