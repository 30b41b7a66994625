"""Text, JSON, patterns, shell words: what comes in is bounded and inert, what is written reads back."""
