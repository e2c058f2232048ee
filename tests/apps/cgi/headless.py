print("no header, and no empty line")
