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
#
# Beyond the official image:
#
# ORLOP_POSTGRES_STATEMENTS  file with statements for every start, each on a line of its own
set -eu
umask 077

export PGDATA="${PGDATA:-/var/lib/postgresql/data/pgdata}"
new=$PGDATA.new

# Runs the statements of a file without opening a port.
run() {
    postgres --single -D "$1" -c exit_on_error=on postgres < "$2" > /dev/null
}

make() {
    rm -rf "$new"
    # Words of the arguments are meant to be split.
    # shellcheck disable=SC2086
    initdb --pgdata="$new" --username="${POSTGRES_USER:-postgres}" \
        --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
    for statements in /docker-entrypoint-initdb.d/*.sql; do
        [ -e "$statements" ] || continue
        run "$new" "$statements"
    done
    # An empty directory may be there; one that holds anything is nobody's to remove.
    [ ! -d "$PGDATA" ] || rmdir "$PGDATA"
    mv "$new" "$PGDATA"
}

[ "${1:-}" != postgres ] || shift
# A pod that was deleted by force may still write to the volume: its processes hold this lock until
# the last of them has ended, as these will.
exec 9> "$PGDATA.lock"
flock --wait 60 9 || { echo "failed to lock $PGDATA: another server works on it" >&2; exit 1; }
[ -s "$PGDATA/PG_VERSION" ] || make
# Giving the volume to a group opens the directory to it, which PostgreSQL refuses to work in.
chmod 0700 "$PGDATA"
[ -z "${ORLOP_POSTGRES_STATEMENTS:-}" ] || run "$PGDATA" "$ORLOP_POSTGRES_STATEMENTS"
exec postgres "$@"
