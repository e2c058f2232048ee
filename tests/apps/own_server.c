/* A module that gives requests with the header X-Own a server of their own, in their pool, as mod_vhost_ldap and others do. */
#include "apr_strings.h"
#include "httpd.h"
#include "http_config.h"
#include "http_request.h"
#include "http_protocol.h"

static int own_server(request_rec *r)
{
    const char *name = apr_table_get(r->headers_in, "X-Own");

    if (name) {
        server_rec *own = apr_pmemdup(r->pool, r->server, sizeof(*own));

        own->server_hostname = apr_pstrdup(r->pool, name);
        r->server = own;
    }
    return DECLINED;
}

static void hooks(apr_pool_t *p)
{
    ap_hook_post_read_request(own_server, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

AP_DECLARE_MODULE(own_server) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks};
