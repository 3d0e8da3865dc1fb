#!/bin/sh
# Makes the database that the variables name, once, and becomes PostgreSQL.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username postgres --pwfile /tmp/password --auth-host scram-sha-256 --auth-local trust --encoding UTF8
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl start --wait --options "-c listen_addresses=''"
    createdb --username postgres "$POSTGRES_DB"
    pg_ctl stop --wait
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
