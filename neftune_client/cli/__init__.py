"""`neftune`, the command line: words of a terminal around :class:`neftune_client.client.Client`."""
