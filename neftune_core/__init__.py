"""What is computed: specs, rows, noise, training. Knows no web framework, SQL or queue."""
