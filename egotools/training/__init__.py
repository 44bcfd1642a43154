"""The training loop, run directories, optimizers, schedules, epochs and folds."""
