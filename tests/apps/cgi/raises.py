print("Content-Type: text/plain\n")
1 / 0
