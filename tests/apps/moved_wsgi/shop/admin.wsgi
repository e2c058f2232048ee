import sys

from plain import answer


def shop(environ, start_response):
    return answer(start_response, ["admin", environ["REMOTE_USER"], getattr(sys, "warmed", None)])
