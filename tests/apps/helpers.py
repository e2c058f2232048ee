def helper(req):
    return "helped"
