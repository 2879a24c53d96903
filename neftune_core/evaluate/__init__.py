"""Evaluation: what a tuned model pays, says and knows, measured with the noise off.

``spec`` (what is asked) and ``results`` (what came out) are pure and light; what loads a model or a metric's
library does so when it is used.
"""
