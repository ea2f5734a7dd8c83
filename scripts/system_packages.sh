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

if [ ${#missing[@]} = 0 ] && ! old_node; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    [ ${#missing[@]} = 0 ] || echo "Installing ${missing[*]}, which tests need."
    apt-get update --quiet --quiet &&
        apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
            echo "These packages could not be installed, and tests that need them are skipped: ${missing[*]}"
            exit 1
        }
    # Debian 12 has node 18, which is too old for the tests. The registry of npm has newer ones.
    old_node || exit 0
    echo "Installing node 22 by npm, because the distribution's is older than 20."
    npm install --global --silent node@22 && exit 0
fi
echo "Tests that need ${missing[*]:-node 20 or newer} are skipped. As root on Debian or Ubuntu, this installs what is missing."
exit 1
