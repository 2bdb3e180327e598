#!/usr/bin/env bash
# Owns the words of the set-up scripts: dokku's line style, loud lines, and how long a step took.

say() { echo "-----> $*"; }
say_more() { echo "       $*"; }
say_loud() { echo " !     $*" >&2; }
give_up() {
  say_loud "$*"
  exit 1
}

# timed <sentence> <command…>: quick steps stay quiet, slow ones tell what they cost.
timed() {
  local sentence="$1" started="$SECONDS" status=0
  shift
  "$@" || status=$?
  if ((SECONDS - started >= 2)); then
    say_more "$sentence: $((SECONDS - started)) s"
  fi
  return "$status"
}
