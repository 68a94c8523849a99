"""The command line: serve, demo, check and, later, the tools that reshape a live system."""

if __name__ != "shardproxy.tools":
    raise ImportError("import this package as shardproxy.tools")
