"""The surface under ``/v1`` that clients of OpenAI's API speak, over the same ledgers as the native one.

It has no tables of its own truth: ids and names here are other spellings of the native ones.
"""
