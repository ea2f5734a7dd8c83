"""Secrets, as a variable or as the file that another variable names."""

from pathlib import Path


def read_secret(value: str | None, file: Path | None, variable: str, *, shortest: int = 1) -> str | None:
    """Return a secret, or None when neither is set. Raises ValueError without the secret in its text."""
    if not value and file is None:
        return None
    if not value and file:
        try:
            value = file.read_text().strip()
        except (OSError, ValueError) as problem:
            raise ValueError(f"{variable}_FILE cannot be read: {problem}") from None
        variable = f"the file of {variable}_FILE"
    if not value or len(value) < shortest:
        raise ValueError(f"{variable} must have {shortest} characters or more")
    return value
