"""The numbers that make the base model what it is; with other numbers it is another model."""

SEED = 20_261_120
TEXTS = 20_000  # documents the tokenizer learns from
VOCABULARY = 1792
STEPS = 1100
TOKENS = 4096  # in a step
SHORT, LONG = 128, 512  # in a row: short rows teach to look things up, long ones keep far positions known
THREADS = 2  # other numbers of threads add up in another order
QUESTIONS = 200  # in the quiz that the card reports
