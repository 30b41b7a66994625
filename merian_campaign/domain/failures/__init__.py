"""Why an attempt failed and what to do about it: evidence, rules, verdicts, remedies, pauses."""
