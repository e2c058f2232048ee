//! How httpd calls a Python output filter. A brigade is given to it in pieces of limited size, so that a large answer is never in
//! memory as a whole, and so that what is there does not wait for what comes later.

use super::invocation::{Invocation, new_brigade};
use super::names;
use super::own::{Handler, Own, Verdict, name_of, own};
use crate::httpd::apr::brigade::{append, concat, first, has_eos, is_empty, read, sentinel};
use crate::httpd::callback::summon;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::ptr::null_mut;

/// How many bytes one invocation of an output filter is given at most.
const PIECE: usize = 1 << 20;

pub(super) type Output =
    unsafe extern "C" fn(*mut sys::ap_filter_t, *mut sys::apr_bucket_brigade) -> sys::apr_status_t;

/// A C function for each place of `names`.
#[expect(clippy::upper_case_acronyms, reason = "a constant for each type")]
pub(super) struct OUTPUTS<F>(std::marker::PhantomData<F>);

macro_rules! outputs {
    ($($place:literal)*) => {
        impl<F: Handler> OUTPUTS<F> {
            pub(super) const ALL: [Output; names::MOST] = [$(output::<F, $place>),*];
        }
    };
}

outputs!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
    64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95
    96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127
    128 129 130 131 132 133 134 135 136 137 138 139 140 141 142 143 144 145 146 147 148 149 150 151 152 153 154 155 156 157 158 159
    160 161 162 163 164 165 166 167 168 169 170 171 172 173 174 175 176 177 178 179 180 181 182 183 184 185 186 187 188 189 190 191
    192 193 194 195 196 197 198 199 200 201 202 203 204 205 206 207 208 209 210 211 212 213 214 215 216 217 218 219 220 221 222 223
    224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255
);

pub(super) unsafe extern "C" fn output<F: Handler, const PLACE: usize>(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> sys::apr_status_t {
    // SAFETY: what httpd passes.
    unsafe { pass::<F>(filter, brigade, PLACE) }
}

/// Gives an answer to the filter whose function has this place among `names`, piece by piece, for as long as it is kept.
///
/// # Safety
/// A live filter and brigade, as httpd passes them.
#[inline(never)]
unsafe fn pass<F: Handler>(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
    place: usize,
) -> sys::apr_status_t {
    // SAFETY: httpd passes a live filter and brigade; the brigade that is made here lies in the request's pool.
    unsafe {
        let Some((own, request)) = own(filter) else {
            return sys::ap_pass_brigade((*filter).next, brigade);
        };
        let target = new_brigade(filter);
        let mut status = 0;
        while status == 0 && !is_empty(brigade) {
            match own.verdict {
                Verdict::Kept => {}
                Verdict::LeftOut => {
                    status = sys::ap_pass_brigade((*filter).next, brigade);
                    break;
                }
                Verdict::Failed(_) => {
                    sys::apr_brigade_cleanup(brigade.cast());
                    status = sys::AP_FILTER_ERROR;
                    break;
                }
            }
            status = match Piece::cut(brigade) {
                Ok(piece) => {
                    let step = Step {
                        filter,
                        request,
                        place,
                        target,
                    };
                    let status = step.run::<F>(own, brigade, piece.more_will_come);
                    piece.put_back(brigade);
                    status
                }
                Err(error) => error,
            };
        }
        sys::apr_brigade_destroy(target);
        status
    }
}

/// One call of a filter, for one piece of an answer.
struct Step<'r> {
    filter: *mut sys::ap_filter_t,
    request: Request<'r>,
    place: usize,
    /// What goes on; empty between two steps.
    target: *mut sys::apr_bucket_brigade,
}

impl Step<'_> {
    /// Calls the filter, and sends on what it gives: at once, if there is more to wait for. The piece is empty afterwards.
    ///
    /// # Safety
    /// A live filter, its context, and brigades.
    unsafe fn run<F: Handler>(
        &self,
        own: &mut Own,
        piece: *mut sys::apr_bucket_brigade,
        flush: bool,
    ) -> sys::apr_status_t {
        // SAFETY: the caller's promise.
        unsafe {
            let target = self.target;
            let ends = has_eos(piece);
            let mut invocation = Invocation::new(self.filter, piece, target, None);
            own.verdict = self.call::<F>(own, &mut invocation);
            let mut status = invocation.status();
            match own.verdict {
                // What it has not read goes on as it is.
                Verdict::LeftOut => concat(target, piece),
                Verdict::Kept if ends && !invocation.closed => invocation.end(),
                Verdict::Kept => {}
                Verdict::Failed(answer) => {
                    sys::apr_brigade_cleanup(target.cast());
                    if status == 0 {
                        status = fail(self.filter, self.request, target, answer);
                    }
                }
            }
            if flush {
                append(target, sys::apr_bucket_flush_create((*target).bucket_alloc));
            }
            if status == 0 && !is_empty(target) {
                status = sys::ap_pass_brigade((*self.filter).next, target);
            }
            sys::apr_brigade_cleanup(target.cast());
            sys::apr_brigade_cleanup(piece.cast());
            status
        }
    }

    /// # Safety
    /// As for `run`.
    unsafe fn call<F: Handler>(&self, own: &Own, invocation: &mut Invocation) -> Verdict {
        // SAFETY: the caller's promise; F was registered.
        let verdict = guard("filter", || unsafe {
            match name_of(self.filter, own, self.request, self.place) {
                Some(name) => summon::<F>()(self.request, name, false, invocation),
                None => Verdict::BROKEN,
            }
        });
        verdict.unwrap_or_else(|place| {
            log::entry(self.request, Level::Critical, &place);
            Verdict::BROKEN
        })
    }
}

/// Ends an answer of which nothing goes on any more: with the status `answer` where nothing has left yet, otherwise by breaking the
/// connection off, so that the client can tell that something is missing.
///
/// # Safety
/// A live filter and its request; `brigade` is an empty one of ours.
unsafe fn fail(
    filter: *mut sys::ap_filter_t,
    request: Request<'_>,
    brigade: *mut sys::apr_bucket_brigade,
    answer: Status,
) -> sys::apr_status_t {
    // SAFETY: live buckets of the connection's allocator; the header filter answers an error bucket with its page (ap_die).
    unsafe {
        let connection = (*filter).c;
        let (pool, allocator) = ((*request.as_ptr()).pool, (*connection).bucket_alloc);
        let begun = request.has_begun_to_leave();
        let number = if begun {
            sys::HTTP_BAD_GATEWAY
        } else {
            answer.0
        };
        append(
            brigade,
            sys::ap_bucket_error_create(number, std::ptr::null(), pool, allocator),
        );
        if begun {
            append(brigade, sys::apr_bucket_flush_create(allocator));
        } else {
            append(brigade, sys::apr_bucket_eos_create(allocator));
        }
        sys::ap_pass_brigade((*filter).next, brigade);
        sys::apr_brigade_cleanup(brigade.cast());
        if begun {
            (*connection).keepalive = sys::ap_conn_keepalive_e_AP_CONN_CLOSE;
            (*connection).aborted = 1;
        }
        sys::AP_FILTER_ERROR
    }
}

/// What `cut` has found behind the piece that it leaves in the brigade.
struct Piece {
    rest: *mut sys::apr_bucket_brigade,
    /// Does the rest have to be waited for? Then the piece is to be sent before that.
    more_will_come: bool,
}

impl Piece {
    /// Puts what is behind the piece where that was.
    ///
    /// # Safety
    /// A live brigade: the one that was cut, empty.
    unsafe fn put_back(self, brigade: *mut sys::apr_bucket_brigade) {
        if !self.rest.is_null() {
            // SAFETY: the caller's promise.
            unsafe {
                concat(brigade, self.rest);
                sys::apr_brigade_destroy(self.rest);
            }
        }
    }

    /// Cuts a brigade behind what is there without waiting, up to a FLUSH, PIECE bytes at most. Waits only for a first byte.
    ///
    /// # Errors
    /// What reading a bucket answers.
    ///
    /// # Safety
    /// A live brigade that is not empty.
    unsafe fn cut(brigade: *mut sys::apr_bucket_brigade) -> Result<Piece, sys::apr_status_t> {
        // SAFETY: each bucket is looked at while the brigade holds it.
        unsafe {
            let (mut total, mut more_will_come) = (0, false);
            let mut bucket = first(brigade);
            while bucket != sentinel(brigade) {
                let kind = (*bucket).type_;
                if (*kind).is_metadata != sys::apr_bucket_type_t_APR_BUCKET_DATA {
                    bucket = (*bucket).link.next;
                    if std::ptr::eq(kind, &raw const sys::apr_bucket_type_flush) {
                        break;
                    }
                    continue;
                }
                // A pipe or a socket, of which some has to be read to know how much there is.
                if (*bucket).length == usize::MAX {
                    let (mut data, mut length) = (std::ptr::null(), 0);
                    let try_ = sys::apr_read_type_e_APR_NONBLOCK_READ;
                    let mut status = read(bucket, &mut data, &mut length, try_);
                    if is_again(status) && total > 0 {
                        more_will_come = true;
                        break;
                    }
                    if is_again(status) {
                        let wait = sys::apr_read_type_e_APR_BLOCK_READ;
                        status = read(bucket, &mut data, &mut length, wait);
                    }
                    if status != 0 && status != sys::APR_EOF {
                        return Err(status);
                    }
                }
                let room = PIECE - total;
                if (*bucket).length != usize::MAX && (*bucket).length > room {
                    let split = (*(*bucket).type_).split;
                    split.map(|split| split(bucket, room));
                }
                total += (*bucket).length.min(room);
                bucket = (*bucket).link.next;
                if total >= PIECE {
                    break;
                }
            }
            let rest = if bucket == sentinel(brigade) {
                null_mut()
            } else {
                sys::apr_brigade_split(brigade, bucket)
            };
            Ok(Piece {
                rest,
                more_will_come,
            })
        }
    }
}

fn is_again(status: sys::apr_status_t) -> bool {
    status == libc::EAGAIN || status == libc::EWOULDBLOCK
}
