#!/bin/bash
# Install the distribution's packages that the tests need, as root on Debian or Ubuntu. Elsewhere, or when that fails, say in
# one line what is missing, and end with exit code 1: the tests that need it are skipped.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-liberation)
# The node that playwright brings needs it.
compgen -G '/usr/lib/*/libatomic.so.1' >/dev/null || missing+=(libatomic1)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || missing+=(pgbouncer)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(faketime)
command -v ip >/dev/null || missing+=(iproute2)
command -v jq >/dev/null || missing+=(jq)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v prometheus >/dev/null || missing+=(prometheus)
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing+=(nginx)

old_node() {
    ! node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null
}

install() {
    apt-get install --yes --quiet --quiet --no-install-recommends "$@" >/dev/null 2>&1
}

failed=()
if [ ${#missing[@]} = 0 ] && ! old_node; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    if [ ${#missing[@]} != 0 ]; then
        echo "Installing ${missing[*]}, which tests need."
        apt-get update --quiet --quiet || true
        # A package that this distribution lacks must not keep the others away.
        install "${missing[@]}" || for package in "${missing[@]}"; do
            install "$package" || failed+=("$package")
        done
    fi
    # Debian 12 has node 18, which is too old for the tests. The registry of npm has newer ones.
    if command -v npm >/dev/null && old_node; then
        echo "Installing node 22 by npm, because the distribution's is older than 20."
        npm install --global --silent node@22 || failed+=("node 20 or newer")
    fi
    [ ${#failed[@]} != 0 ] || exit 0
    echo "These could not be installed, and tests that need them are skipped: ${failed[*]}"
    exit 1
fi
if command -v node >/dev/null && old_node; then
    missing+=("node 20 or newer")
fi
echo "Tests that need ${missing[*]} are skipped. As root on Debian or Ubuntu, this installs what is missing."
exit 1
