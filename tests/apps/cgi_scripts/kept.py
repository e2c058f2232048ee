import io

import captures

print("Content-Type: text/plain; charset=utf-8\n")
query, method, again = captures.query()
print(query, method, again)
captures.stdout.write("written ")
captures.binary.write(b"bytes \n")
print(isinstance(captures.stdin, io.TextIOWrapper))
if captures.cgi is None:
    print("no cgi")
else:
    form = captures.cgi.FieldStorage()
    print(form.getfirst("a"), form.getfirst("b"))
