"""For those who write workflow files: the JSON Schema for their editor, a file to begin with, and the other notation.

None of it is needed to make DAGs of the files.
"""
