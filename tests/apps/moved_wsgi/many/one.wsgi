from plain import answer


def application(environ, start_response):
    return answer(start_response, ["one", environ["SCRIPT_NAME"], environ["PATH_INFO"]])
