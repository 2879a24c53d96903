"""Answering beside the workers: one process that is asked over HTTP, and its child that holds the model."""
