"""A campaign file as a whole: its groups, what an edit changes, which groups a person means."""
