"""Reports: what a run or a series came to, as one page that needs nothing else, and the same as JSON.

``document`` is what is told, ``run`` and ``series`` make it from JSON alone, ``page`` shows it. All of it is
pure and light; ``command`` reads the files.
"""
