"""The files of models, for workers that fetch them here."""
