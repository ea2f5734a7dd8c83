#!/bin/sh
# Generate the Python messages, services and type stubs of proto/ below a directory.
# Usage: scripts/generate_protocol.sh OUTPUT_DIRECTORY
set -eu

output=$1
services=$(grep --files-with-matches '^service ' proto/thumbq/v1/*.proto)
PATH=.venv-proto/bin:$PATH

generate() {
    .venv-proto/bin/python -m grpc_tools.protoc --proto_path=proto --proto_path=third_party/googleapis "$@"
}

mkdir -p "$output"
rm -f "$output"/thumbq/v1/*_pb2.py* "$output"/thumbq/v1/*_pb2_grpc.py*
generate --python_out="$output" --mypy_out=quiet:"$output" proto/thumbq/v1/*.proto
# The stubs of the base classes are concrete, like the classes: a method that is not overridden answers UNIMPLEMENTED.
# shellcheck disable=SC2086
generate --grpc_python_out="$output" --mypy_grpc_out=quiet,generate_concrete_servicer_stubs:"$output" $services
