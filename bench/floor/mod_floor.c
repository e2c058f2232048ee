/* The floor: what a handler costs that does nothing but answer. Registered as our own module is, without Python.
 * SetHandler floor: one write. SetHandler floor-flush: a write and a flush, as req.write() does by default. */
#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"

static const char PREFIX[] = "/floor";

static int answer(request_rec *r)
{
    int flush;

    if (!r->handler || strncmp(r->handler, "floor", 5) != 0)
        return DECLINED;
    flush = strcmp(r->handler, "floor-flush") == 0;
    ap_set_content_type(r, "text/plain");
    ap_rputs("Hello World!", r);
    if (flush)
        ap_rflush(r);
    return OK;
}

/* Nothing is looked up in the file system, as for our handlers inside <Location>. */
static int no_file(request_rec *r)
{
    return r->uri && strncmp(r->uri, PREFIX, sizeof(PREFIX) - 1) == 0 ? OK : DECLINED;
}

static void hooks(apr_pool_t *pool)
{
    ap_hook_translate_name(no_file, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_map_to_storage(no_file, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(answer, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(floor) = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks };
