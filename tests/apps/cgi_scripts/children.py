import os
import subprocess
import sys

print("Content-Type: text/plain\n")
sys.stdout.flush()
sys.stdout.write(subprocess.run(["sh", "-c", "echo $QUERY_STRING"], capture_output=True, text=True, check=True).stdout)
sys.stdout.write(os.popen("echo $QUERY_STRING").read())
os.environ["MINE"] = os.environ["QUERY_STRING"]
os.putenv("PUT", "put")
sys.stdout.write(subprocess.run("echo $MINE", shell=True, capture_output=True, text=True, check=True).stdout)
assert os.system('test "$MINE" = "$QUERY_STRING" && test "$PUT" = put') == 0
