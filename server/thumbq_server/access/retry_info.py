"""What a caller that came too often is told."""

import grpc
from google.rpc import error_details_pb2, status_pb2

from thumbq_runtime.limits.rates import TooOften


def when_to_return(error: Exception) -> tuple[tuple[str, bytes], ...]:
    """Return the metadata that tell a caller when it may try again, as google.rpc.RetryInfo."""
    if not isinstance(error, TooOften):
        return ()
    status = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message=str(error))
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromSeconds(error.retry_after)
    status.details.add().Pack(info)
    return (("grpc-status-details-bin", status.SerializeToString()),)
