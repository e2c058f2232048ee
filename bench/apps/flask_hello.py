"""Flask's hello, where it is mounted, and by its path for servers that mount nothing."""

from flask import Flask, Response

application = Flask(__name__)


@application.route("/")
@application.route("/flask")
def hello() -> Response:
    return Response("Hello World!", mimetype="text/plain")
