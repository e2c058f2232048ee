/* A module that relies on a file name once a URI has been mapped, as many do: it looks at its length and its last part in every
 * phase, first, in the middle and last, and says what it has seen. */
#include "apr_strings.h"
#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

static int look(request_rec *r, const char *phase)
{
    apr_size_t length = strlen(r->filename);
    const char *last = strrchr(r->filename, '/') + 1;

    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "saw %s %s %s %s %" APR_SIZE_T_FMT "%s", phase, r->uri, r->filename,
                  r->path_info && *r->path_info ? r->path_info : "-", length, *last ? "" : ".");
    return DECLINED;
}

static int type_first(request_rec *r) { return look(r, "type"); }
static int type_last(request_rec *r) { return look(r, "type"); }
static int fixup_first(request_rec *r) { return look(r, "first"); }
static int fixup_middle(request_rec *r) { return look(r, "middle"); }
static int fixup_last(request_rec *r) { return look(r, "last"); }
static int handle(request_rec *r) { return look(r, "handler"); }
static int log_first(request_rec *r) { return look(r, "log"); }
static int log_last(request_rec *r) { return look(r, "log"); }

static void hooks(apr_pool_t *p)
{
    ap_hook_type_checker(type_first, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_type_checker(type_last, NULL, NULL, APR_HOOK_LAST);
    ap_hook_fixups(fixup_first, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(fixup_middle, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_fixups(fixup_last, NULL, NULL, APR_HOOK_LAST);
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_log_transaction(log_first, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_log_transaction(log_last, NULL, NULL, APR_HOOK_LAST);
}

AP_DECLARE_MODULE(names) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks};
