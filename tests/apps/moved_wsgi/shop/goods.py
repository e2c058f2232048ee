LIST = ["spam", "eggs"]
