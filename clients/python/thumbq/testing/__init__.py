"""For the tests of programs that use thumbq: a private service, a queue worked dry, and a record of notifications."""

from thumbq.testing.drain import Drained, drain
from thumbq.testing.recorder import Recorder
from thumbq.testing.service import PrivateService, private_service

__all__ = ["Drained", "PrivateService", "Recorder", "drain", "private_service"]
