import os

print("Content-Type: text/plain\n")
for name in (
    "PATH_INFO",
    "PATH_TRANSLATED",
    "SCRIPT_NAME",
    "SCRIPT_FILENAME",
    "QUERY_STRING",
    "HTTP_X_NAME",
    "REQUEST_URI",
):
    print(name, ascii(os.environ.get(name)))
print("ENVIRONB", ascii(os.environb[b"PATH_INFO"]) if "PATH_INFO" in os.environ else "")
