#!/bin/sh
# Becomes PostgreSQL with the given arguments. Where the volume has no database it makes one first,
# beside its place, so that a start that was cut short leaves nothing half-made.
# Names and places are those of the official image.
#
# PGDATA                  where the database is: a directory below the volume
# POSTGRES_USER           its superuser
# POSTGRES_PASSWORD_FILE  holds the superuser's password
# POSTGRES_INITDB_ARGS    further arguments of initdb
# /docker-entrypoint-initdb.d/*.sql
#                         statements for a new database, each on a line of its own
set -eu
umask 077

export PGDATA="${PGDATA:-/var/lib/postgresql/data/pgdata}"
new=$PGDATA.new

make() {
    rm -rf "$new"
    # Words of the arguments are meant to be split.
    # shellcheck disable=SC2086
    initdb --pgdata="$new" --username="${POSTGRES_USER:-postgres}" \
        --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
    for statements in /docker-entrypoint-initdb.d/*.sql; do
        [ -e "$statements" ] || continue
        postgres --single -D "$new" -c exit_on_error=on postgres < "$statements" > /dev/null
    done
    # An empty directory may be there; one that holds anything is nobody's to remove.
    [ ! -d "$PGDATA" ] || rmdir "$PGDATA"
    mv "$new" "$PGDATA"
}

[ "${1:-}" != postgres ] || shift
[ -s "$PGDATA/PG_VERSION" ] || make
# Giving the volume to a group opens the directory to it, which PostgreSQL refuses to work in.
chmod 0700 "$PGDATA"
exec postgres "$@"
