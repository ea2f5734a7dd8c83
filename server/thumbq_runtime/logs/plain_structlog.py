"""structlog, loaded without rich, which it would load for colours that no program prints: a seventh of a start."""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    # None makes the import fail, as where rich is not installed.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
