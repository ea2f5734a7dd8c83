#!/bin/sh
# Makes what the containers of docker-compose.yml show each other, once: keys.sh FOLDER
# The database is the one that DATABASE_URL names. What is in the folder already stays: with a new database, empty the
# folder as well (the volume "secrets"), since the servers refuse to start while their database has no key.
set -eu
cd "$1"
umask 077
[ -s gateway-secret ] || { head -c 32 /dev/urandom | base64 > gateway-secret.new && mv gateway-secret.new gateway-secret; }
for role in admin worker viewer; do
    [ -s "$role.key" ] && continue
    thumbq keys create --database --role "$role" --name compose > "$role.key.new"
    mv "$role.key.new" "$role.key"
done
# Prometheus is another user.
chmod 0644 viewer.key
