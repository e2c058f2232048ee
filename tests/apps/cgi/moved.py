print("Location: /elsewhere\n")
