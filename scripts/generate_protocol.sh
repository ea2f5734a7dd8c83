#!/bin/sh
# Generate the Python messages, services and type stubs of proto/ below a directory; and from its comments the texts for the
# gateway's description of the API, and the reference for readers.
# Usage: scripts/generate_protocol.sh OUTPUT_DIRECTORY COMMENTS_JSON REFERENCE_MARKDOWN
set -eu

output=$1 comments=$2 reference=$3
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

described=$(mktemp)
generate --include_source_info --descriptor_set_out="$described" proto/thumbq/v1/*.proto
.venv-proto/bin/python scripts/protocol_reference.py "$described" "$comments" "$reference"
rm "$described"
