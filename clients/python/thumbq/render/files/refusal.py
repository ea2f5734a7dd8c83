"""How the intake says that a file cannot be used."""


class Refused(Exception):
    """Says in one sentence what a person can do something about, and whether the same file may do later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
