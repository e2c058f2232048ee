import os
import time

wanted = os.environ["QUERY_STRING"]
print("Content-Type: text/plain\n")
for _ in range(20):
    time.sleep(0)
    assert os.environ["QUERY_STRING"] == wanted
    print(wanted)
os.environ["LEFT_BEHIND"] = wanted
