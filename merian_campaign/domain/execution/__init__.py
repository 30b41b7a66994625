"""How quanta run and what is known of it: journal, provenance, attempts, and which process it was."""
