"""What is computed: specs, rows, noise, training. Knows no HTTP, SQL or queue."""
