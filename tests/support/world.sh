#!/usr/bin/env bash
# Owns where a stand-in's world is and the environment dokku gives to everything it calls. To be sourced.

# One folder is one server; tests that run side by side have one each.
export DOKKU_STANDIN_ROOT="${DOKKU_STANDIN_ROOT:-/var/lib/pgbackup-demo}"
# The scripts' own copy in the world: user dokku may not be able to read the folder they came from.
STANDIN="$DOKKU_STANDIN_ROOT/stand-in"

export_environment() {
  export DOKKU_ROOT="$DOKKU_STANDIN_ROOT/home" DOKKU_HOST_ROOT="$DOKKU_STANDIN_ROOT/home"
  export DOKKU_LIB_ROOT="$DOKKU_STANDIN_ROOT/lib"
  export PLUGIN_PATH="$DOKKU_STANDIN_ROOT/plugins"
  export PLUGIN_AVAILABLE_PATH="$PLUGIN_PATH/available" PLUGIN_ENABLED_PATH="$PLUGIN_PATH/enabled"
  export PLUGIN_CORE_PATH="$DOKKU_STANDIN_ROOT/core-plugins"
  export PLUGIN_CORE_AVAILABLE_PATH="$PLUGIN_CORE_PATH/available" PLUGIN_CORE_ENABLED_PATH="$PLUGIN_CORE_PATH/enabled"
  export DOKKU_LOGS_DIR="$DOKKU_STANDIN_ROOT/logs" DOKKU_LOGS_HOST_DIR="$DOKKU_STANDIN_ROOT/logs"
  export DOKKU_EVENTS_LOGFILE="$DOKKU_LOGS_DIR/events.log"
  export DOKKU_SYSTEM_USER=dokku DOKKU_SYSTEM_GROUP=dokku DOKKU_DISTRO=debian
  export DOKKU_API_VERSION=1 DOKKU_NOT_IMPLEMENTED_EXIT=10 DOKKU_VALID_EXIT=0
  export DOKKU_CONTAINER_LABEL=dokku
  export DOKKU_GLOBAL_RUN_ARGS=--label=dokku DOKKU_GLOBAL_BUILD_ARGS=--label=dokku
  export DOCKER_BIN="${DOCKER_BIN:-docker}" DOKKU_PID="${DOKKU_PID:-$$}"
  # sudo gives every command a PATH of its own choice; a server has these two in /usr/bin.
  case ":$PATH:" in
    *":$STANDIN:"*) ;;
    *) export PATH="$STANDIN:$PATH" ;;
  esac
}

# Makes what an installed dokku would have: folders, core plugins, dokku-postgres. Root only; before every command, so it
# starts next to no process where all is there.
ensure_world() {
  local source="$1" folder folders=()
  for folder in . home lib lib/services lib/services/postgres lib/config lib/config/apps lib/data plugins \
    plugins/available plugins/enabled core-plugins core-plugins/available core-plugins/enabled logs; do
    folders+=("$DOKKU_STANDIN_ROOT/$folder")
  done
  ensure_folders "${folders[@]}"
  if [[ ! "$source" -ef "$STANDIN" ]]; then
    copy_scripts "$source"
  fi
  enable_core_plugins
}

# Its own folders, once; a folder that came from outside is given to dokku, too.
ensure_folders() {
  local folder found
  if found="$(stat -c '%F of %U' -- "$@" 2>/dev/null)"; then
    found="${found//directory of dokku/}"
    [[ -n "${found//$'\n'/}" ]] || return 0
  fi
  for folder in "$@"; do
    [[ -d "$folder" && "$(stat -c %U "$folder")" == dokku ]] || install -d -o dokku -g dokku -m 0755 "$folder"
  done
}

# Each file by rename, and only when it changed: another command may be running it.
copy_scripts() {
  local source="$1" path target stamp="$STANDIN/.copied"
  if [[ -e "$stamp" && -z "$(newer_scripts "$source" "$stamp")" ]]; then
    return 0
  fi
  while IFS= read -r -d '' path; do
    target="$STANDIN/$path"
    cmp -s "$source/$path" "$target" && continue
    mkdir -p "${target%/*}"
    cp -p "$source/$path" "$target.$$"
    chmod go+rX "$target.$$"
    mv -f "$target.$$" "$target"
  done < <(cd "$source" && find crontab dokku plugn world.sh core-plugins postgres-plugin -type f -print0)
  chmod -R go+rX "$STANDIN"
  touch "$stamp"
}

newer_scripts() { (cd "$1" && find crontab dokku plugn world.sh core-plugins postgres-plugin -newer "$2" -print -quit); }

enable_core_plugins() {
  local plugin name
  for plugin in "$STANDIN"/core-plugins/*; do
    name="${plugin##*/}"
    link "$plugin" "$DOKKU_STANDIN_ROOT/core-plugins/available/$name"
    link "$DOKKU_STANDIN_ROOT/core-plugins/available/$name" "$DOKKU_STANDIN_ROOT/core-plugins/enabled/$name"
    link "$DOKKU_STANDIN_ROOT/core-plugins/available/$name" "$DOKKU_STANDIN_ROOT/plugins/available/$name"
    link "$DOKKU_STANDIN_ROOT/core-plugins/available/$name" "$DOKKU_STANDIN_ROOT/plugins/enabled/$name"
  done
  link "$STANDIN/postgres-plugin" "$DOKKU_STANDIN_ROOT/plugins/available/postgres"
  link "$DOKKU_STANDIN_ROOT/plugins/available/postgres" "$DOKKU_STANDIN_ROOT/plugins/enabled/postgres"
}

link() { [[ -L "$2" ]] || ln -s "$1" "$2" 2>/dev/null || [[ -L "$2" ]]; }
