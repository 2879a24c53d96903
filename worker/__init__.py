"""Who runs: claims jobs, supervises runners, reconciles what was lost. Imports no torch."""
