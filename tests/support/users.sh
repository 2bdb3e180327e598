#!/usr/bin/env bash
# Owns the user dokku: there, at home in /home/dokku, and allowed to use docker.

ensure_dokku_user() {
  if ! getent passwd dokku >/dev/null; then
    say "Making the user dokku"
    # No system user, as on a real server: it could get 999, which is the images' postgres, and then dokku could read
    # what it must not be able to read.
    useradd --user-group --create-home --home-dir /home/dokku --shell /bin/bash dokku
  fi
  if ! getent group docker >/dev/null; then
    groupadd --system docker
  fi
  if [[ " $(id -nG dokku) " != *" docker "* ]]; then
    usermod --append --groups docker dokku
  fi
  ensure_socket_group
}

# A daemon that was started before the group existed has left its socket to root alone.
ensure_socket_group() {
  local socket=/var/run/docker.sock
  [[ -S "$socket" && "$(stat -c %G "$socket")" == root ]] || return 0
  chgrp docker "$socket"
  chmod 0660 "$socket"
}
