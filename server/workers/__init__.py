"""Several processes on one port: who starts them, looks after them, and tells of all of them.

What the supervisor imports is kept small: nothing of what a server is made of.
"""
