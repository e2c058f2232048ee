"""What is asked of daemons and of servers behind a front: hello, and 10 KB."""

HELLO = b"Hello World!"
KILOBYTES_10 = b"x" * 10240


def application(environ, start_response):
    body = KILOBYTES_10 if environ["PATH_INFO"] == "/page" else HELLO
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
