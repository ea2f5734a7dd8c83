"""What is true of jobs, whoever asks and wherever they are stored."""
