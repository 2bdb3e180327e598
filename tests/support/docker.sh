#!/usr/bin/env bash
# Owns docker's daemon: uses the one that answers, else starts one.

DOCKERD_LOG="${DOCKERD_LOG:-/var/log/dockerd.log}"

docker_answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

wait_for_docker() {
  local seconds="$1"
  while ((seconds-- > 0)); do
    docker_answers && return 0
    sleep 1
  done
  return 1
}

ensure_docker() {
  docker_answers && return 0
  say "Starting docker's daemon"
  timed "Docker's daemon" start_docker ||
    give_up "docker's daemon does not answer: look into $DOCKERD_LOG, start it by hand, and run this again"
}

start_docker() {
  # An init that manages docker is asked first, so that it stays the one in charge.
  if [[ -d /run/systemd/system ]] && systemctl start docker 2>/dev/null && wait_for_docker 20; then
    return 0
  fi
  if [[ -x /etc/init.d/docker ]] && service docker start >/dev/null 2>&1 9>&- && wait_for_docker 20; then
    return 0
  fi
  command -v dockerd >/dev/null || give_up "There is a docker client but no dockerd: install docker.io"
  # A pid file of a daemon that died with its machine stops the next one.
  if [[ -s /var/run/docker.pid ]] && ! kill -0 "$(</var/run/docker.pid)" 2>/dev/null; then
    rm -f /var/run/docker.pid
  fi
  # It outlives this script, so it must not keep the lock that setup holds on 9.
  setsid --fork dockerd >>"$DOCKERD_LOG" 2>&1 </dev/null 9>&-
  wait_for_docker 60
}
