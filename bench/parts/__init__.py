"""The parts of the bench, a module for each subject."""
