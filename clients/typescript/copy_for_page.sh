#!/bin/sh
# Compile the client and copy what a browser needs of it, so that the live page works where there is no node.
# Usage: clients/typescript/copy_for_page.sh DIRECTORY
set -eu

target=$1
client=$(dirname "$0")

"$client/node_modules/.bin/tsc" --build "$client"
for folder in . network sharing; do
    mkdir -p "$target/$folder"
    rm -f "$target/$folder"/*.js
    for source in "$client/src/$folder"/*.ts; do
        name=$folder/$(basename "$source" .ts)
        name=${name#./}
        case $name in types | subscription | react) continue ;; esac # types compile to nothing; no page here has React
        {
            echo "// Generated from clients/typescript/src/$name.ts by \`make typescript\`. Change it there."
            cat "$client/dist/$name.js"
        } >"$target/$name.js"
    done
done
