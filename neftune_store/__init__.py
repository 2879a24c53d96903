"""What is remembered: rows in Postgres, blobs in object storage. Knows no web and no torch."""
