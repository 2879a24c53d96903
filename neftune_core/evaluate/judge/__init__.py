"""Which of two answers a judge prefers: asked over HTTP, in both orders, and never twice for the same texts.

``judging`` does it and gives the figures; ``alpaca_eval`` reads and writes that project's files; ``command``
is the command line. Light: numpy at most.
"""
