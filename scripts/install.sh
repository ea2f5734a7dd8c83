#!/bin/sh
# Install Python packages into a virtual environment, and make the environment first if there is none.
# Usage: scripts/install.sh DIRECTORY PIP_INSTALL_ARGUMENT...
# It uses uv when that is on PATH. PYTHON names the interpreter of a new environment; the default is the first python3 on
# PATH that is 3.11 or later.
set -eu

directory=$1
shift

recent_enough() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if recent_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or later is needed, and not found among: ${PYTHON:-python3, python3.11 to python3.14}." >&2
    return 1
}

# Debian and Ubuntu ship ensurepip, which the venv module needs, in a separate package.
require_ensurepip() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $package, which Python needs to make virtual environments."
        install="apt-get install --yes --quiet --no-install-recommends $package"
        export DEBIAN_FRONTEND=noninteractive
        $install >/dev/null 2>&1 || { apt-get update --quiet && $install; } >/dev/null
    else
        echo "Python's venv module is missing. Install it and try again: sudo apt-get install $package" >&2
        return 1
    fi
}

echo "Installing Python packages into $directory ..."

if ! "$directory/bin/python" -c '' 2>/dev/null; then
    python=$(find_python)
    if command -v uv >/dev/null; then
        uv venv --quiet --clear --python "$(command -v "$python")" "$directory"
    else
        require_ensurepip "$python"
        "$python" -m venv --clear "$directory"
    fi
fi

if command -v uv >/dev/null; then
    # As pip does: the first start would otherwise take seconds more.
    uv pip install --quiet --compile-bytecode --python "$directory/bin/python" "$@"
else
    "$directory/bin/python" -m pip --version >/dev/null 2>&1 || "$directory/bin/python" -m ensurepip >/dev/null
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
fi
