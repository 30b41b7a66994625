"""The PipelineTasks of the demo, under the task labels and dimensions of the Merian notebook."""
