"""What Slurm says, as values: states, jobs, batch scripts, and the blocks of a submission."""
