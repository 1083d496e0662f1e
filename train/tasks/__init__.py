"""What is learned: a task has data, a loss and metrics."""
