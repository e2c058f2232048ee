#!/usr/bin/env python3
import os
import sys

import beside

if __name__ == "__main__":
    print("Content-Type: text/plain; charset=utf-8")
    print("Status: 201 Made")
    print("X-One: 1")
    print()
    sys.stdout.flush()
    sys.stdout.buffer.write(b"bytes \xff\n")
    print(
        os.environ["REQUEST_METHOD"],
        os.environ["QUERY_STRING"],
        os.environ.get("HTTP_PROXY"),
        os.environ["SCRIPT_NAME"],
    )
    print(os.getcwd() == os.path.dirname(os.path.abspath(__file__)), beside.VALUE, open("data.txt").read())
    print(repr(sys.stdin.read()))
    sys.exit(0)
