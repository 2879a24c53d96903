"""Who asks: the HTTP service."""
