#!/usr/bin/env bash
# Owns how our own postgres images start: the interface of the official image, so that one can stand for the other.
set -eo pipefail

wants_help() {
  local argument
  for argument in "$@"; do
    case "$argument" in
      '-?' | --help | --describe-config | -V | --version) return 0 ;;
    esac
  done
  return 1
}

# The data folder may be a fresh bind mount of root's, or one made by another uid.
take_ownership_and_drop_root() {
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 00700 "$PGDATA"
  chmod 03775 /var/run/postgresql
  find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
  export HOME=/var/lib/postgresql
  # BusyBox's setpriv cannot do that; its su, unlike Debian's, gives its own process away.
  if [[ -x /bin/busybox ]]; then
    exec su -m -s "$BASH" postgres "$0" "$@"
  fi
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH" "$0" "$@"
}

require_password_or_trust() {
  if [[ -z "$POSTGRES_PASSWORD" && "$POSTGRES_HOST_AUTH_METHOD" != trust ]]; then
    echo 'Error: POSTGRES_PASSWORD must be set to a value, or POSTGRES_HOST_AUTH_METHOD to "trust"' >&2
    exit 1
  fi
}

# The password goes through a file descriptor: argv can be read by everybody.
run_initdb() {
  mkdir -p "$PGDATA"
  # initdb looks its own uid up; an arbitrary --user has no entry, so one is lent to it for as long as initdb runs.
  if ! getent passwd "$(id -u)" >/dev/null; then
    lend_passwd_entry
  fi
  # POSTGRES_INITDB_ARGS is a command line, quotes included.
  eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"
  unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
}

lend_passwd_entry() {
  local wrapper
  for wrapper in /usr/lib/*/libnss_wrapper.so; do
    [[ -f "$wrapper" ]] || continue
    NSS_WRAPPER_PASSWD="$(mktemp)"
    NSS_WRAPPER_GROUP="$(mktemp)"
    printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" >"$NSS_WRAPPER_PASSWD"
    printf 'postgres:x:%s:\n' "$(id -g)" >"$NSS_WRAPPER_GROUP"
    export LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    return
  done
}

allow_all_hosts() {
  local method="$POSTGRES_HOST_AUTH_METHOD"
  [[ -n "$method" ]] || method="$(postgres -C password_encryption)"
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# Nobody but this script may reach the server before its database and init scripts are there: socket only.
temporary_server() {
  case "$1" in
    start) PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p ${PGPORT:-5432}" -w start ;;
    stop) pg_ctl -D "$PGDATA" -m fast -w stop ;;
  esac
}

own_psql() {
  PGHOST='' PGHOSTADDR='' PGPASSWORD="$POSTGRES_PASSWORD" psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password \
    --username "$POSTGRES_USER" "$@"
}

create_database() {
  [[ "$POSTGRES_DB" == postgres ]] && return 0
  own_psql --dbname postgres --set db="$POSTGRES_DB" <<'SQL'
CREATE DATABASE :"db";
SQL
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh)
        # As in the official image: an executable one is run, another one is read into this shell.
        if [[ -x "$file" ]]; then
          "$file"
        else
          # shellcheck source=/dev/null
          source "$file"
        fi
        ;;
      *.sql) own_psql --dbname "$POSTGRES_DB" --file "$file" ;;
    esac
  done
}

initialise() {
  require_password_or_trust
  run_initdb
  allow_all_hosts
  temporary_server start
  create_database
  run_init_files
  temporary_server stop
}

main() {
  POSTGRES_USER="${POSTGRES_USER:-postgres}"
  POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"

  if [[ -z "$1" || "${1:0:1}" == '-' ]]; then
    set -- postgres "$@"
  fi
  if [[ "$1" == postgres ]] && ! wants_help "$@"; then
    if [[ "$(id -u)" == 0 ]]; then
      take_ownership_and_drop_root "$@"
    fi
    if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
      initialise
    fi
  fi
  exec "$@"
}

main "$@"
