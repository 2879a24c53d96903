"""The bundled base model, made from nothing: our text, our tokenizer, our pretraining.

``python -m standalone.base_model OUT_DIR`` rebuilds it from a seed. Nothing is downloaded and nothing
is read but this package; the service itself never imports it.
"""
